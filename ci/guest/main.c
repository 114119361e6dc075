/*
 * A program for guests that shows what their kernel tells and does: static, so that it runs in a guest with nothing else.
 *
 *     guest TEST [WORD...]
 *
 * As a guest's PID 1 it mounts what it needs, takes its words from behind `--` on the kernel's command line, and speaks by
 * the ports of userland/abi/src/port.rs, as a program that PID 1 runs does through PID 1.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY = 0xa00, STDOUT = 0xa01, STDERR = 0xa02, REPORT = 0xa03, EXIT = 0xa04, READY_BYTE = 123 };

static int nothing(int count, char **words)
{
	(void)count;
	(void)words;
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int count, char **words);
	/* As PID 1 it mounts what it needs itself. */
	bool mounts;
} TESTS[] = {
	{ "nothing", nothing, false }, { "snapshot", snapshot, false }, { "first", first, false }, { "busy", busy, false },
	{ "load", load, false },       { "dirty", dirty, false },       { "look", look, false },   { "prove", prove, true },
	{ "each", each, false },
};

static ssize_t to_port(void *port, const char *bytes, size_t count)
{
	outsb((unsigned short)(uintptr_t)port, bytes, count);
	return count;
}

static FILE *port_stream(int port)
{
	cookie_io_functions_t functions = { .write = to_port };
	FILE *stream = fopencookie((void *)(uintptr_t)port, "w", functions);

	if (!stream)
		_exit(1);
	setvbuf(stream, NULL, _IOLBF, 0);
	return stream;
}

/* Ends the machine with a verdict. */
__attribute__((noreturn)) static void off(int status)
{
	char line[32];
	int length = snprintf(line, sizeof line, "exit %d\n", status & 0xff);

	fflush(NULL);
	outsb(REPORT, line, length);
	outb(0, EXIT);
	for (;;)
		pause();
}

static void be_pid1(void)
{
	if (iopl(3))
		_exit(1);
	outb(READY_BYTE, READY);
	stdout = port_stream(STDOUT);
	stderr = port_stream(STDERR);
}

static void mount_all(void)
{
	static const char *const NAMES[] = { "proc", "sysfs", "devtmpfs" };
	static const char *const PLACES[] = { "/proc", "/sys", "/dev" };

	for (int i = 0; i < 3; i++) {
		mkdir(PLACES[i], 0755);
		/* Not every kernel has each. */
		mount(NAMES[i], PLACES[i], NAMES[i], 0, NULL);
	}
}

void die(const char *format, ...)
{
	va_list args;
	int error = errno;

	fprintf(stderr, "guest: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	if (getpid() == 1)
		off(1);
	exit(1);
}

double now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

long slurp(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t length = 0;
	ssize_t got = -1;

	if (file < 0)
		return -1;
	while (length + 1 < size && (got = read(file, text + length, size - 1 - length)) > 0)
		length += got;
	text[length] = '\0';
	close(file);
	return got < 0 && !length ? -1 : (long)length;
}

long field(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? atol(line + strlen(name)) : -1;
}

int lists(const char *path, const char *name)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int found = 0;

	while (directory && !found && (entry = readdir(directory)))
		found = !strcmp(entry->d_name, name);
	if (directory)
		closedir(directory);
	return found;
}

int in_child(int (*child)(void *), void *data)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(child(data));
	return pid;
}

int children_failed(void)
{
	int failed = 0, status;

	while (wait(&status) > 0)
		failed += status != 0;
	return failed;
}

void reset_machine(void)
{
	fflush(NULL);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

int main(int count, char **words)
{
	int status = 2;

	if (getpid() == 1)
		be_pid1();
	else
		setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	for (size_t i = 0; count > 1 && i < sizeof TESTS / sizeof *TESTS; i++)
		if (!strcmp(words[1], TESTS[i].name)) {
			if (getpid() == 1 && !TESTS[i].mounts)
				mount_all();
			status = TESTS[i].run(count - 2, words + 2);
		}
	if (status == 2)
		fprintf(stderr, "guest: there is no such test\n");
	fflush(NULL);
	if (getpid() == 1)
		off(status);
	return status;
}
