/*
 * guest prove PROCESSORS [NAME...], as PID 1: one boot for each row whose name begins with one of these (for all rows, if there
 * are none). Nothing has looked at anything in that boot before the row does. Then the machine resets with memory full of old
 * bytes. PID 1 has a higher priority than the kernel's threads, so what the kernel has postponed is still to be done when
 * the row runs. Rows report in the kernel's log, between its own messages, in lines with `prove:`.
 */
#define _GNU_SOURCE
#include "prove.h"

#include <sched.h>
#include <signal.h>
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

/* Runs a row in a process of its own. If it does not end in time, the kernel logs which tasks are blocked. */
static int in_time(int (*row)(void))
{
	double end = now_us() + LIMIT_S * 1e6, left;
	sigset_t child, before;
	int status = 0;
	pid_t pid;

	/* While it is blocked, the signal is kept until sigtimedwait takes it. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	pid = fork();
	if (!pid) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		_exit(row());
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		left = end - now_us();
		if (left <= 0) {
			procfs();
			write_to("/proc/sysrq-trigger", "w");
			return wrong("it did not end in %d s", LIMIT_S);
		}
		sigtimedwait(&child, NULL, &(struct timespec){ left / 1e6, (long)left % 1000000 * 1000 });
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
	/*
	 * Time for the kernel's threads to do what is still postponed. Nothing tells when it is done, because whoever asks makes
	 * the kernel do it at once. Only then are all pages looked at.
	 */
	usleep(200 * 1000);
	procfs();
	read_all("/proc/pagetypeinfo");
	if (row->soils)
		soil();
	say("%s: %s", row->name, failed ? "failed" : "done");
	if (boot == boots) {
		say("%d boots done", boots);
		/* Takes the console lock, and so waits until the log is printed and the UART has sent it. */
		read_all("/proc/consoles");
		return failed;
	}
	reset_machine();
}
