/*
 * guest first DOOR: how long the first use of something takes, in microseconds of the guest's clock, which the second use of it
 * is no measure for. Some kernels get ready for it only then. The program's own pages are there by then: how it is laid out
 * does not count.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

/* Where the linker puts this program, which is not position-independent. */
extern const Elf64_Ehdr __ehdr_start;

enum { MEBIBYTE = 1 << 20, PAGE = 4096 };

static int a_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int a_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int random_bytes(void)
{
	char bytes[32];

	return getrandom(bytes, sizeof bytes, 0) == sizeof bytes ? 0 : -1;
}

static int list(const char *path)
{
	DIR *directory = opendir(path);
	int count = 0;

	while (directory && readdir(directory))
		count++;
	return directory ? count : -1;
}

static int sysctls(void)
{
	return list("/proc/sys");
}

static int sysfs(void)
{
	return list("/sys/class");
}

static int touched(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	for (size_t at = 0; at < size; at += PAGE)
		memory[at] = 1;
	return 0;
}

static int touch64(void)
{
	return touched(64 * MEBIBYTE);
}

static int touch100(void)
{
	return touched(100 * MEBIBYTE);
}

static const struct {
	const char *name;
	int (*open)(void);
} DOORS[] = {
	{ "socket", a_socket }, { "unix", a_unix_socket }, { "random", random_bytes }, { "sysctl", sysctls },
	{ "sysfs", sysfs },     { "64M", touch64 },        { "100M", touch100 },
};

/* Touches each page of a segment, and for writing where RELRO leaves it writable. */
static void touch_segment(char *at, size_t size, bool writable, const char *read_only_end)
{
	char *end = at + size;

	for (at = (char *)((uintptr_t)at & -(uintptr_t)PAGE); at < end; at += PAGE) {
		char byte = *(volatile char *)at;

		if (writable && at >= read_only_end)
			*(volatile char *)at = byte;
	}
}

/* Takes the page faults of this program's text, data, heap and stack. */
static void touch_program(void)
{
	enum { HEAP = 64 * 1024, STACK = 16 * 1024 };
	const Elf64_Phdr *headers = (const Elf64_Phdr *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
	const char *read_only_end = NULL;
	char stack[STACK];
	char *heap = malloc(HEAP);

	if (!heap)
		die("malloc");
	touch_segment(heap, HEAP, true, NULL);
	free(heap);
	touch_segment(stack, STACK, true, NULL);
	for (int i = 0; i < __ehdr_start.e_phnum; i++)
		if (headers[i].p_type == PT_GNU_RELRO)
			read_only_end = (char *)headers[i].p_vaddr + headers[i].p_memsz;
	for (int i = 0; i < __ehdr_start.e_phnum; i++)
		if (headers[i].p_type == PT_LOAD)
			touch_segment((char *)headers[i].p_vaddr, headers[i].p_memsz, headers[i].p_flags & PF_W, read_only_end);
}

int first(int count, char **words)
{
	touch_program();
	for (int word = 0; word < count; word++)
		for (size_t i = 0; i < sizeof DOORS / sizeof *DOORS; i++)
			if (!strcmp(words[word], DOORS[i].name)) {
				double began = now_us();
				int got = DOORS[i].open();
				double took = now_us() - began;

				if (got < 0)
					die("%s", words[word]);
				printf("%s %.1f\n", words[word], took);
			}
	return 0;
}
