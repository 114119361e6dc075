/* First looks at /sys, /proc and /dev. */
#define _GNU_SOURCE
#include "prove.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files that can be read only once, have an effect, or never end; they are left out. */
static bool dangerous(const char *path)
{
	static const char *const NAMES[] = { "/proc/kmsg", "/proc/kcore", "/proc/sysrq-trigger", "/proc/sys/vm/compact_memory",
					     "/sys/kernel/debug", "/proc/1/task", "/sys/kernel/tracing" };

	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (!strcmp(path, NAMES[i]))
			return true;
	return !strncmp(path, "/proc/", 6) && strstr(path, "/pagemap");
}

static long walked;

static void walk(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		char inner[1024];
		struct stat is;

		snprintf(inner, sizeof inner, "%.500s/%.500s", path, entry->d_name);
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || dangerous(inner))
			continue;
		walked++;
		if (lstat(inner, &is)) {
			/* Processes end. */
			if (strncmp(path, "/proc", 5))
				wrong("%s is listed and is not there", inner);
		} else if (S_ISDIR(is.st_mode)) {
			walk(inner);
		} else if (S_ISREG(is.st_mode) && is.st_mode & 0444) {
			read_all(inner);
		} else if (S_ISLNK(is.st_mode)) {
			char target[1024];

			if (readlink(inner, target, sizeof target) < 0 && strncmp(path, "/proc", 5))
				wrong("link %s", inner);
		}
	}
	if (directory)
		closedir(directory);
}

static int tree_of(const char *path)
{
	no_hurry();
	walk(path);
	say("%s: %ld entries", path, walked);
	return walked > 20 ? 0 : wrong("%s is empty", path);
}

static int all_sys(void) { sysfs(); return tree_of("/sys"); }
static int all_proc(void) { procfs(); return tree_of("/proc"); }
static int all_sysctl(void) { procfs(); return tree_of("/proc/sys"); }
static int all_dev(void) { devtmpfs(); return must_list("/dev", "null") || must_list("/dev", "zero"); }

static int trees_at_once(void)
{
	static int (*const ALL[])(void) = { all_sys, all_sysctl, all_sys, all_proc, all_sysctl, all_dev };

	return at_once(ALL, sizeof ALL / sizeof *ALL);
}

/* Several look up names that nobody has listed: none may find one missing. */
static int look_up(void)
{
	static const char *const NAMES[] = { "/sys/devices/virtual/mem/null/dev", "/sys/class/net/lo/mtu", "/sys/module/printk",
					     "/sys/devices/system/cpu/online", "/sys/kernel/mm", "/sys/class/tty/tty/dev" };

	sysfs();
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (access(NAMES[i], F_OK))
			return wrong("%s is not there", NAMES[i]);
	return 0;
}

static int look_ups_at_once(void)
{
	static int (*const ALL[])(void) = { look_up, look_up, look_up, look_up, look_up, look_up, look_up, look_up };

	return at_once(ALL, sizeof ALL / sizeof *ALL);
}

/* Requests every event that a file of /sys can send again. */
static void ask_for_events(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char inner[1024];

	while (directory && (entry = readdir(directory))) {
		snprintf(inner, sizeof inner, "%.500s/%.500s", path, entry->d_name);
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			ask_for_events(inner);
		else if (!strcmp(entry->d_name, "uevent"))
			write_to(inner, "change");
	}
	if (directory)
		closedir(directory);
}

static int events(void)
{
	sysfs();
	ask_for_events("/sys/devices");
	return 0;
}

const struct row TREES_ROWS[] = {
	{ "trees/look-ups-at-once", look_ups_at_once, false },
	{ "trees/at-once", trees_at_once, false },
	{ "trees/sys", all_sys, false },
	{ "trees/proc", all_proc, false },
	{ "trees/sysctl", all_sysctl, false },
	{ "trees/dev", all_dev, false },
	{ "trees/events", events, false },
	{ 0 },
};
