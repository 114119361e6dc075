/* First uses that look at struct pages, or need pages. */
#define _GNU_SOURCE
#include "prove.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

static int page_types(void) { procfs(); return must_read("/proc/pagetypeinfo"); }
static int page_flags(void) { procfs(); return must_read("/proc/kpageflags"); }
static int page_count(void) { procfs(); return must_read("/proc/kpagecount"); }
static int page_cgroup(void) { procfs(); return must_read("/proc/kpagecgroup"); }

static int counters(void)
{
	procfs();
	return must_read("/proc/zoneinfo") || must_read("/proc/meminfo") || must_read("/proc/buddyinfo") ||
	       must_read("/proc/vmstat") || must_read("/proc/slabinfo") || must_read("/proc/iomem");
}

static int compaction(void)
{
	procfs();
	return write_to("/proc/sys/vm/compact_memory", "1") ? wrong("compact_memory") : 0;
}

static int huge(void)
{
	static const char *const COUNTS[] = { "20", "0", "40", "7", "0" };
	char text[32];

	procfs();
	for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
		if (write_to("/proc/sys/vm/nr_hugepages", COUNTS[i]) || slurp("/proc/sys/vm/nr_hugepages", text, sizeof text) < 0)
			return wrong("nr_hugepages");
		if (atoi(text) != atoi(COUNTS[i]))
			return wrong("%d huge pages instead of %s", atoi(text), COUNTS[i]);
	}
	return 0;
}

static int huge_used(void)
{
	char *memory;

	procfs();
	if (write_to("/proc/sys/vm/nr_hugepages", "16"))
		return wrong("nr_hugepages");
	memory = mmap(NULL, 32 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		return wrong("16 huge pages");
	memset(memory, 0xaa, 32 * MEBIBYTE);
	munmap(memory, 32 * MEBIBYTE);
	return write_to("/proc/sys/vm/nr_hugepages", "0") ? wrong("nr_hugepages") : 0;
}

/* What writes to the limits of memory counts its pages again. */
static int watermarks(void)
{
	static const char *const FILES[][2] = {
		{ "/proc/sys/vm/min_free_kbytes", "4096" },        { "/proc/sys/vm/watermark_scale_factor", "50" },
		{ "/proc/sys/vm/lowmem_reserve_ratio", "32 32 8" }, { "/proc/sys/vm/percpu_pagelist_high_fraction", "64" },
		{ "/proc/sys/vm/drop_caches", "3" },               { "/proc/sys/vm/stat_refresh", "1" },
	};

	procfs();
	for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
		if (write_to(FILES[i][0], FILES[i][1]) && errno != ENOENT)
			return wrong("%s", FILES[i][0]);
	return must_read("/proc/zoneinfo");
}

/* Memory is taken in all sizes, by several at once, before the kernel was idle. */
static int hunger(void)
{
	static int (*const ALL[])(void) = { huge_used, page_flags, page_types, compaction };
	struct sysinfo info;
	char *memory;
	size_t size;
	int failed;

	if (sysinfo(&info))
		return wrong("sysinfo");
	size = info.totalram * info.mem_unit / 4 & -(size_t)PAGE;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return wrong("%zu bytes", size);
	no_hurry();
	failed = at_once(ALL, sizeof ALL / sizeof *ALL);
	munmap(memory, size);
	return failed;
}

static int holes(void)
{
	no_hurry();
	soil();
	procfs();
	return compaction() || page_types() || page_flags() || huge();
}

/* Blocks of memory are taken away and given back, where the kernel can do that; what is in use stays. */
static int blocks(void)
{
	const char *where = "/sys/devices/system/memory";
	DIR *directory;
	struct dirent *entry;
	char path[512];

	sysfs();
	directory = opendir(where);
	while (directory && (entry = readdir(directory))) {
		int number;

		if (sscanf(entry->d_name, "memory%d", &number) != 1)
			continue;
		snprintf(path, sizeof path, "%s/%.200s/state", where, entry->d_name);
		if (!write_to(path, "offline") && write_to(path, "online"))
			return wrong("%s does not come back", path);
	}
	if (directory)
		closedir(directory);
	return 0;
}

/* Somebody takes more than there is, and is killed for it. */
static int too_much(void)
{
	struct sysinfo info;
	int status;
	pid_t pid;

	no_hurry();
	pid = fork();

	if (!pid) {
		size_t size, at;
		char *memory;

		procfs();
		write_to("/proc/self/oom_score_adj", "1000");
		sysinfo(&info);
		size = info.totalram * info.mem_unit + 64 * MEBIBYTE;
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		for (at = 0; memory != MAP_FAILED && at < size; at += PAGE)
			memory[at] = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : wrong("not killed: status %#x", status);
}

const struct row MEMORY_ROWS[] = {
	{ "memory/pagetypeinfo", page_types, true },
	{ "memory/kpageflags", page_flags, false },
	{ "memory/kpagecount", page_count, false },
	{ "memory/kpagecgroup", page_cgroup, false },
	{ "memory/compaction", compaction, false },
	{ "memory/huge-pages", huge, true },
	{ "memory/huge-pages-used", huge_used, false },
	{ "memory/counters", counters, false },
	{ "memory/watermarks", watermarks, false },
	{ "memory/hunger", hunger, false },
	{ "memory/holes", holes, false },
	{ "memory/blocks", blocks, false },
	{ "memory/too-much", too_much, false },
	{ 0 },
};
