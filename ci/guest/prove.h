/* What the parts of `guest prove` share. See prove.c. */
#ifndef PROVE_H
#define PROVE_H

#include "guest.h"

#include <stdbool.h>

enum { PAGE = 4096, MEBIBYTE = 1 << 20 };

/* Something that somebody may do first; a name of NULL ends the table. */
struct row {
	const char *name;
	/* Gives 0, or what wrong() gave. */
	int (*run)(void);
	/* Afterwards, memory is written to, and every second page given back. */
	bool soils;
};

extern const struct row MEMORY_ROWS[], PROCESSORS_ROWS[], TREES_ROWS[], NETWORK_ROWS[];

/* How many processors there have to be. */
extern int processors;

/* From now on, what is said goes to the kernel's log, where it has one; else to stdout. */
void open_kmsg(void);

/* A line in the kernel's log. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* Says what went wrong, and gives what a row then gives. */
__attribute__((format(printf, 1, 2))) int wrong(const char *format, ...);

/* Mount these where they belong; once is enough. */
void procfs(void);
void sysfs(void);
void devtmpfs(void);

/* Writes a string to a file; -1 with errno. */
int write_to(const char *path, const char *text);

/* From now on, other threads have their turn: what takes long would look to the kernel as if something hung. */
void no_hurry(void);

/* Reads all of a file; how many bytes there were, or -1. */
long read_all(const char *path);

/* The file has something in it. */
int must_read(const char *path);

/* The directory lists the name. */
int must_list(const char *path, const char *name);

/* Many at once, each by another door. */
int at_once(int (*const *doors)(void), int count);

#endif
