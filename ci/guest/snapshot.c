/*
 * guest snapshot PART...: what the kernel tells, a line each, as `pass TAB path TAB mode TAB value`. The parts are taken in order:
 *
 *     memory   sysinfo(2) and /proc's counts of memory
 *     sysctl   /proc/sys
 *     sysfs    /sys
 *     dev      /dev
 *     limits   of this program, of PID 1
 *     proc     /proc but for processes: that it is there
 *     log      the kernel's messages so far
 *     wait     a second; what is behind it is another pass
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int pass = 1;
static char text[1 << 18];

/* A value in one line; a line's end is a vertical bar. */
static void value(const char *path, unsigned mode, const char *is)
{
	printf("%d\t%s\t%o\t", pass, path, mode);
	for (; *is; is++)
		putchar(*is == '\n' ? '|' : *is == '\t' ? ' ' : *is);
	putchar('\n');
}

static void file(const char *path, unsigned mode)
{
	if (!(mode & 0444))
		value(path, mode, "");
	else if (slurp(path, text, sizeof text) < 0)
		value(path, mode, strerror(errno));
	else
		value(path, mode, text);
}

static void entry(const char *path);

static void directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		char inner[PATH_MAX];

		snprintf(inner, sizeof inner, "%s/%s", path, name);
		if (strcmp(name, ".") && strcmp(name, ".."))
			entry(inner);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

static void entry(const char *path)
{
	struct stat is;
	char target[PATH_MAX];

	if (lstat(path, &is)) {
		value(path, 0, strerror(errno));
	} else if (S_ISDIR(is.st_mode)) {
		value(path, is.st_mode, "");
		/* Thousands of files, which take memory; whether they are there is a matter of configuration. */
		if (strcmp(path, "/sys/kernel/slab"))
			directory(path);
	} else if (S_ISLNK(is.st_mode)) {
		ssize_t length = readlink(path, target, sizeof target - 1);

		target[length < 0 ? 0 : length] = '\0';
		value(path, is.st_mode, target);
	} else if (S_ISREG(is.st_mode)) {
		file(path, is.st_mode);
	} else {
		snprintf(target, sizeof target, "%u:%u", major(is.st_rdev), minor(is.st_rdev));
		value(path, is.st_mode, target);
	}
}

static void memory(void)
{
	static const char *const FILES[] = { "/proc/meminfo", "/proc/zoneinfo", "/proc/buddyinfo",
					     "/proc/pagetypeinfo", "/proc/vmstat" };
	struct sysinfo info;
	char line[128];

	if (sysinfo(&info))
		die("sysinfo");
	snprintf(line, sizeof line, "total %lu free %lu", info.totalram * info.mem_unit / 1024,
		 info.freeram * info.mem_unit / 1024);
	value("sysinfo", 0, line);
	for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
		file(FILES[i], 0444);
}

/* What of /proc comes and goes with processes is left out. */
static void proc(void)
{
	struct dirent **entries;
	int count = scandir("/proc", &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];
		struct stat is;

		snprintf(path, sizeof path, "/proc/%s", entries[i]->d_name);
		if (entries[i]->d_name[0] > '9' && !lstat(path, &is))
			value(path, is.st_mode, "");
	}
}

static void kernel_log(void)
{
	int length = klogctl(3 /* all, without taking it */, text, sizeof text - 1);

	text[length < 0 ? 0 : length] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		value("log", 0, line);
}

static void part(const char *name)
{
	if (!strcmp(name, "memory")) {
		memory();
	} else if (!strcmp(name, "sysctl")) {
		entry("/proc/sys");
	} else if (!strcmp(name, "sysfs")) {
		entry("/sys");
	} else if (!strcmp(name, "dev")) {
		entry("/dev");
	} else if (!strcmp(name, "limits")) {
		file("/proc/self/limits", 0444);
		file("/proc/1/limits", 0444);
	} else if (!strcmp(name, "proc")) {
		proc();
	} else if (!strcmp(name, "log")) {
		kernel_log();
	} else if (!strcmp(name, "wait")) {
		/* Idle time, in which the kernel does what it has postponed: asking whether it is done would make it do it. */
		sleep(1);
		pass++;
	} else {
		errno = EINVAL;
		die("%s", name);
	}
}

int snapshot(int count, char **words)
{
	for (int i = 0; i < count; i++)
		part(words[i]);
	return 0;
}
