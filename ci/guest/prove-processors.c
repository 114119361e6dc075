/* First uses that count the processors, and what may happen to processors afterwards. */
#define _GNU_SOURCE
#include "prove.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_first(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) || CPU_COUNT(&set) != processors)
		return wrong("%d processors instead of %d", CPU_COUNT(&set), processors);
	return 0;
}

static int count_sys(void)
{
	char text[64], all[16];

	sysfs();
	snprintf(all, sizeof all, processors > 1 ? "0-%d\n" : "%d\n", processors - 1);
	if (slurp("/sys/devices/system/cpu/online", text, sizeof text) < 0 || strcmp(text, all))
		return wrong("the processors online are %s", text);
	return 0;
}

/* Each goes offline and comes back in turn, while all compute. */
static int processors_go(void)
{
	char path[64], text[8];
	pid_t busy[8];
	int failed = 0;

	for (size_t i = 0; i < 8; i++)
		if (!(busy[i] = fork()))
			for (;;)
				no_hurry();
	sysfs();
	for (int round = 0; round < 3; round++)
		for (int one = 1; one < processors; one++) {
			snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/online", one);
			for (int on = 0; on < 2; on++) {
				if (access(path, F_OK))
					break; /* The kernel cannot do it. */
				if (write_to(path, on ? "1" : "0"))
					failed = wrong("writing %d to %s", on, path);
				if (slurp(path, text, sizeof text) < 0 || atoi(text) != on)
					failed = wrong("%s says %s after %d", path, text, on);
			}
		}
	for (size_t i = 0; i < 8; i++) {
		kill(busy[i], SIGKILL);
		waitpid(busy[i], NULL, 0);
	}
	return failed || count_first();
}

const struct row PROCESSORS_ROWS[] = {
	{ "processors/affinity", count_first, false },
	{ "processors/online", count_sys, false },
	{ "processors/go-and-come", processors_go, false },
	{ 0 },
};
