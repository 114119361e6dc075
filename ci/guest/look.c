/*
 * guest look PROCESSES: a name in /sys is found, however many processes look it up at the same moment, and however early.
 * A kernel may fill a directory only when somebody looks into it. So for each directory, all processes at once are the first
 * to look up a file in it, and then the directory is listed.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file that most directories have. */
#define NAME "uevent"

enum { PROCESSES = 16, LENGTH = 512, DEPTH = 8 };

/* Shared by all processes. */
static struct round {
	/* Counts the paths; each process answers once for each. */
	atomic_uint number, answered;
	char path[LENGTH];
	/* Each process's answer: whether the path was there. */
	char there[PROCESSES];
} *now;

static int processes, asked, wrong;

static int answer(void *data)
{
	int self = (int)(size_t)data;

	for (unsigned number = 1;; number++) {
		while (atomic_load(&now->number) != number)
			sched_yield();
		if (!now->path[0])
			return 0;
		now->there[self] = !access(now->path, F_OK);
		atomic_fetch_add(&now->answered, 1);
	}
}

/* Makes all processes look up a path at once; an empty one ends them. */
static void ask(const char *path)
{
	snprintf(now->path, sizeof now->path, "%s", path);
	atomic_store(&now->answered, 0);
	atomic_fetch_add(&now->number, 1);
	while (path[0] && atomic_load(&now->answered) < (unsigned)processes)
		sched_yield();
}

/* Makes all look up the file in this directory, and compares their answers with the listing. */
static void look_into(const char *directory)
{
	char path[LENGTH];
	int found;

	snprintf(path, sizeof path, "%.250s/" NAME, directory);
	ask(path);
	asked++;
	found = lists(directory, NAME);
	for (int i = 0; i < processes; i++)
		if (now->there[i] != found) {
			fprintf(stderr, "guest: one of %d processes found %s %sthere\n", processes, path, found ? "not " : "");
			wrong++;
		}
	if (found != !access(path, F_OK)) {
		fprintf(stderr, "guest: %s is %slisted\n", path, found ? "not there and " : "there and not ");
		wrong++;
	}
}

static void walk(const char *path, int depth)
{
	DIR *directory;
	struct dirent *entry;

	look_into(path);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		char inner[LENGTH];

		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR || !depth)
			continue;
		snprintf(inner, sizeof inner, "%.250s/%.250s", path, entry->d_name);
		walk(inner, depth - 1);
	}
	if (directory)
		closedir(directory);
}

int look(int count, char **words)
{
	processes = count > 0 ? atoi(words[0]) : 4;
	if (processes < 1 || processes > PROCESSES)
		die("look: 1 to %d processes", PROCESSES);
	now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < processes; i++)
		in_child(answer, (void *)(size_t)i);
	walk("/sys", DEPTH);
	ask("");
	wrong += children_failed();
	printf("asked %d wrong %d\n", asked, wrong);
	return wrong != 0;
}
