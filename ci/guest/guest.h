/* What the parts of the guests' test program share. See main.c. */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

/* Prints a message and what errno says to stderr, and ends the program; as PID 1, the machine. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* CLOCK_MONOTONIC, in microseconds. */
double now_us(void);

/* Reads a file into `text`, as a string; its length, or -1 with errno. */
long slurp(const char *path, char *text, size_t size);

/* A number of `text` behind `name`, as /proc/meminfo has them; -1 where there is none. */
long field(const char *text, const char *name);

/* Whether a directory's listing has the name. */
int lists(const char *path, const char *name);

/* Starts `child` in a process of its own, which ends with what it gives. */
int in_child(int (*child)(void *), void *data);

/* Waits for all children; how many of them did not end with 0. */
int children_failed(void);

/* Resets the machine, as the kernel was told to (reboot=t: by a triple fault); does not return. */
__attribute__((noreturn)) void reset_machine(void);

/* Which boot of this machine it is, from 1; told by a PC's clock, which keeps the count over a reset. Asked once a boot, with iopl. */
int boot_number(void);

/* Writes to all memory that is free, but for a little, and gives every second page back. */
void soil(void);

/* The tests, each with the words behind its name; what they give is the exit status. */
int snapshot(int count, char **words);
int first(int count, char **words);
int busy(int count, char **words);
int load(int count, char **words);
int dirty(int count, char **words);
int look(int count, char **words);
int prove(int count, char **words);
int each(int count, char **words);

#endif
