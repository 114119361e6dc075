/* What the parts of `guest prove` share. See prove.c. */
#ifndef PROVE_H
#define PROVE_H

#include "guest.h"

#include <stdbool.h>

enum { PAGE = 4096, MEBIBYTE = 1 << 20 };

/* A first use to test; a name of NULL ends the table. */
struct row {
	const char *name;
	/* Returns 0, or the result of wrong(). */
	int (*run)(void);
	/* Whether to soil() memory afterwards. */
	bool soils;
};

extern const struct row MEMORY_ROWS[], PROCESSORS_ROWS[], TREES_ROWS[], NETWORK_ROWS[];

/* The number of processors expected. */
extern int processors;

/* Opens the kernel's log for say(), which prints to stdout without one. */
void open_kmsg(void);

/* A line in the kernel's log. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* Says what went wrong, and returns what the row must return. */
__attribute__((format(printf, 1, 2))) int wrong(const char *format, ...);

/* Mount these where they belong; once is enough. */
void procfs(void);
void sysfs(void);
void devtmpfs(void);

/* Writes a string to a file; -1 with errno. */
int write_to(const char *path, const char *text);

/* Gives up real-time priority, so that the kernel does not take long work for a hang. */
void no_hurry(void);

/* Reads all of a file; returns the number of bytes, or -1. */
long read_all(const char *path);

/* Checks that the file is not empty. */
int must_read(const char *path);

/* Checks that the directory lists the name. */
int must_list(const char *path, const char *name);

/* Runs first uses at once, each in a process of its own. */
int at_once(int (*const *doors)(void), int count);

#endif
