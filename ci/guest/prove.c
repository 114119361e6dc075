/*
 * guest prove PROCESSORS [NAME...], as PID 1: for each row below whose name begins with one of these (all, if there is none) a
 * boot in which nobody has looked at anything before that row does, then a reset with memory that is full of old bytes.
 * PID 1 asks for the processor before the kernel's threads of lower priority get it, so what a kernel has left for later is
 * still to be done. What happens is told in the kernel's log, between the kernel's own messages, by lines with `prove:`.
 */
#define _GNU_SOURCE
#include "prove.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 90 };

int processors;

static const struct row *const TABLES[] = { MEMORY_ROWS, PROCESSORS_ROWS, TREES_ROWS, NETWORK_ROWS };

static bool asked_for(const char *name, int count, char **words)
{
	for (int i = 0; i < count; i++)
		if (!strncmp(name, words[i], strlen(words[i])))
			return true;
	return count == 0;
}

/* Runs a row in a process of its own; one that does not end is told of with what the kernel knows of who waits. */
static int in_time(int (*row)(void))
{
	double end = now_us() + LIMIT_S * 1e6;
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(row());
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_us() > end) {
			procfs();
			write_to("/proc/sysrq-trigger", "w");
			return wrong("it did not end in %d s", LIMIT_S);
		}
		usleep(2000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : wrong("it ended by signal %d", WTERMSIG(status));
}

/* The row for this boot, of those whose names begin with one of these words; how many there are. */
static int select_row(int boot, int count, char **words, const struct row **selected)
{
	int boots = 0;

	for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++)
		for (const struct row *row = TABLES[i]; row->name; row++)
			if (asked_for(row->name, count, words) && ++boots == boot)
				*selected = row;
	return boots;
}

int prove(int count, char **words)
{
	struct sched_param first = { .sched_priority = 1 };
	const struct row *row = NULL;
	int boot = boot_number(), boots = select_row(boot, count - 1, words + 1, &row), failed;

	if (count < 1 || !boots)
		die("prove: PROCESSORS, and names of rows");
	/* The last row's kernel ended before it was done. */
	if (!row)
		return 1;
	processors = atoi(words[0]);
	open_kmsg();

	say("boot %d of %d: %s", boot, boots, row->name);
	sched_setscheduler(0, SCHED_FIFO, &first);
	failed = in_time(row->run);
	no_hurry();
	/* The kernel does the rest; then all that it has counts. */
	usleep(200 * 1000);
	procfs();
	read_all("/proc/pagetypeinfo");
	if (row->soils)
		soil();
	say("%s: %s", row->name, failed ? "failed" : "done");
	if (boot == boots) {
		say("%d boots done", boots);
		/* The UART still has the end of that. */
		usleep(200 * 1000);
		return failed;
	}
	reset_machine();
}
