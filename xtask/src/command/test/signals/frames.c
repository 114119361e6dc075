/* Signal frames on stacks whose pages a kernel may not simply write to: not there yet, the zero page, another process', a
 * file's that is read-only. The last frame of each kind starts where its XSAVE area lies across two pages. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 65536, FRAMES = 64 };

static volatile int handled;

static void handler(int signal)
{
	(void)signal;
	handled++;
}

static char *map(int protection, int file)
{
	int flags = MAP_PRIVATE | (file < 0 ? MAP_ANONYMOUS : 0);
	return mmap(0, SIZE, protection, flags, file, 0);
}

/* Takes the signal on a stack that ends 64 bytes earlier each time. */
static void take(char *stack, int number)
{
	stack_t alternate = { .ss_sp = stack, .ss_size = SIZE - 64 * number };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	sigaltstack(&alternate, 0);
	sigaction(SIGUSR1, &action, 0);
	raise(SIGUSR1);
}

static int other_than(const char *bytes, int value)
{
	int count = 0;
	for (int i = 0; i < SIZE; i++)
		count += bytes[i] != (char)value;
	return count;
}

static int absent(int number)
{
	char *stack = map(PROT_READ | PROT_WRITE, -1);
	take(stack, number);
	munmap(stack, SIZE);
	return 0;
}

static int zero_page(int number)
{
	char *stack = map(PROT_READ | PROT_WRITE, -1), *fresh = map(PROT_READ, -1);
	volatile char sum = 0;
	for (int i = 0; i < SIZE; i += 4096)
		sum += stack[i];
	take(stack, number);
	int bad = other_than(fresh, 0);
	munmap(stack, SIZE);
	munmap(fresh, SIZE);
	return bad;
}

static int of_parent(int number)
{
	char *stack = map(PROT_READ | PROT_WRITE, -1);
	memset(stack, 0xaa, SIZE);
	pid_t child = fork();
	if (!child) {
		take(stack, number);
		_exit(handled != 0 ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	handled += status == 0;
	int bad = other_than(stack, 0xaa);
	munmap(stack, SIZE);
	return bad;
}

/* A kernel kills a process whose signal stack is read-only. */
static int of_file(int number)
{
	static char page[SIZE];
	int file = open("/tmp/frames", O_RDWR | O_CREAT, 0600);
	if (file < 0 || write(file, page, SIZE) != SIZE)
		return -1;
	char *stack = map(PROT_READ, file);
	pid_t child = fork();
	if (!child) {
		take(stack, number);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	handled += WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
	int bad = other_than(stack, 0);
	munmap(stack, SIZE);
	close(file);
	return bad;
}

int main(void)
{
	int (*const kinds[])(int) = { absent, zero_page, of_parent, of_file };
	int bad = 0;
	for (int kind = 0; kind < 4; kind++) {
		handled = 0;
		for (int number = 0; number < FRAMES; number++)
			bad |= kinds[kind](number) != 0;
		printf("%d ", handled);
	}
	printf("%s\n", bad ? "bad" : "good");
	return bad;
}
