/*
 * guest each DIRECTORY: runs each program of a directory, one after the other, and tells how it ended and which of its lines
 * say "ok" or "not ok" (the kernel's selftests print TAP): lines of "NAME<tab>WHAT".
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 30, LINE = 300 };

/* In a process group of its own, with nothing to read. */
__attribute__((noreturn)) static void program(const char *path, int output)
{
	char *arguments[] = { (char *)path, NULL }, *environment[] = { "PATH=/bin", "HOME=/", NULL };

	setpgid(0, 0);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(output, 1);
	dup2(output, 2);
	if (chdir("/tmp"))
		_exit(126);
	execve(path, arguments, environment);
	_exit(127);
}

static void line(const char *name, char *text)
{
	/* Subtests are indented. */
	text += strspn(text, " \t");
	if (!strncmp(text, "ok ", 3) || !strncmp(text, "not ok ", 7))
		printf("%s\t%s\n", name, text);
}

/* Tells of each line, until all who could write are gone or the time is over. */
static bool follow(const char *name, int input)
{
	double end = now_us() + LIMIT_S * 1e6;
	struct pollfd ready = { .fd = input, .events = POLLIN };
	char text[LINE + 1];
	size_t length = 0;

	for (;;) {
		double left = end - now_us();
		char byte;

		if (left <= 0 || poll(&ready, 1, left / 1000 + 1) == 0)
			return false;
		if (read(input, &byte, 1) < 1)
			return true;
		if (byte != '\n' && length < LINE) {
			text[length++] = byte;
			continue;
		}
		text[length] = '\0';
		length = 0;
		line(name, text);
	}
}

static void run(const char *directory, const char *name)
{
	char path[512];
	int ends[2], status;
	pid_t pid;
	bool ended;

	snprintf(path, sizeof path, "%.200s/%.300s", directory, name);
	if (pipe2(ends, O_CLOEXEC))
		die("pipe");
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		program(path, ends[1]);
	close(ends[1]);
	ended = follow(name, ends[0]);
	close(ends[0]);
	if (!ended) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	waitpid(pid, &status, 0);
	if (!ended)
		printf("%s\tdid not end in %d s\n", name, LIMIT_S);
	else if (WIFSIGNALED(status))
		printf("%s\tended by signal %d\n", name, WTERMSIG(status));
	else
		printf("%s\tended with %d\n", name, WEXITSTATUS(status));
	fflush(stdout);
}

int each(int count, char **words)
{
	struct dirent **names;
	int found;

	if (count != 1)
		die("each: a directory");
	mkdir("/tmp", 01777);
	found = scandir(words[0], &names, NULL, alphasort);
	if (found < 0)
		die("%s", words[0]);
	for (int i = 0; i < found; i++)
		if (names[i]->d_name[0] != '.')
			run(words[0], names[i]->d_name);
	return 0;
}
