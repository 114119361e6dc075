/* What the rows of prove-*.c are made of. */
#define _GNU_SOURCE
#include "prove.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int kmsg = -1;

void open_kmsg(void)
{
	mkdir("/dev", 0755);
	mknod("/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

void say(const char *format, ...)
{
	char line[512] = "<5>prove: ";
	size_t length = strlen(line);
	va_list args;

	va_start(args, format);
	length += vsnprintf(line + length, sizeof line - length, format, args);
	va_end(args);
	if (length >= sizeof line)
		length = sizeof line - 1;
	/* The kernel prints a line only when it has a newline, or another one follows. */
	line[length++] = '\n';
	if (write(kmsg, line, length) < 0)
		printf("%.*s", (int)length - 3, line + 3);
}

int wrong(const char *format, ...)
{
	char text[400];
	int error = errno;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	say("FAILED: %s (errno: %s)", text, strerror(error));
	return 1;
}

void procfs(void)
{
	mkdir("/proc", 0555);
	mount("proc", "/proc", "proc", 0, NULL);
}

void sysfs(void)
{
	mkdir("/sys", 0555);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
}

void devtmpfs(void)
{
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

int write_to(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done = file < 0 ? -1 : write(file, text, strlen(text));

	if (file >= 0)
		close(file);
	return done < 0 ? -1 : 0;
}

void no_hurry(void)
{
	struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_OTHER, &none);
}

long read_all(const char *path)
{
	static char some[1 << 16];
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	long all = 0;
	ssize_t got;

	if (file < 0)
		return -1;
	while ((got = read(file, some, sizeof some)) > 0)
		all += got;
	close(file);
	return got < 0 && !all ? -1 : all;
}

int must_read(const char *path)
{
	long bytes = read_all(path);

	return bytes > 0 ? 0 : wrong("%s has %ld bytes", path, bytes);
}

int must_list(const char *path, const char *name)
{
	return lists(path, name) ? 0 : wrong("%s has no %s", path, name);
}

int at_once(int (*const *doors)(void), int count)
{
	int status, failed = 0;

	for (int i = 0; i < count; i++)
		if (!fork())
			_exit(doors[i]());
	while (wait(&status) > 0)
		failed += status != 0;
	return failed ? wrong("%d of %d", failed, count) : 0;
}
