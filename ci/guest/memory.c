/* Tests of memory, and of a machine that starts again with memory that has been used. */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { PAGE = 4096, CMOS_ADDRESS = 0x70, CMOS_DATA = 0x71, CMOS_SPARE = 0x50, MARK = 0xa5 };

/* guest busy MILLISECONDS: computes without a pause, then tells of memory; so does `busy 0`, at once. */
int busy(int count, char **words)
{
	static char text[1 << 14];
	double end = now_us() + (count > 0 ? atof(words[0]) * 1e3 : 0);
	struct sysinfo info;

	while (now_us() < end)
		;
	if (sysinfo(&info))
		die("sysinfo");
	if (slurp("/proc/meminfo", text, sizeof text) < 0)
		die("/proc/meminfo");
	printf("total %ld free %ld available %ld sysinfo %lu\n", field(text, "MemTotal:"), field(text, "MemFree:"),
	       field(text, "MemAvailable:"), info.freeram * info.mem_unit / 1024);
	return 0;
}

/* What of a PC's clock keeps its bytes over a reset. */
static unsigned char spare(int at)
{
	outb(CMOS_SPARE + at, CMOS_ADDRESS);
	return inb(CMOS_DATA);
}

static void set_spare(int at, unsigned char byte)
{
	outb(CMOS_SPARE + at, CMOS_ADDRESS);
	outb(byte, CMOS_DATA);
}

int boot_number(void)
{
	int boot = spare(0) == MARK ? spare(1) + 1 : 1;

	set_spare(0, MARK);
	set_spare(1, boot);
	return boot;
}

void soil(void)
{
	struct sysinfo info;
	size_t size;
	char *memory;

	if (sysinfo(&info))
		die("sysinfo");
	size = info.freeram * info.mem_unit;
	size -= size / 16;
	size &= -(size_t)PAGE;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap of %zu bytes", size);
	for (size_t at = 0; at < size; at += 8)
		*(size_t *)(memory + at) = 0x5a5a5a5a5a5a5a5a ^ at;
	for (size_t at = 0; at < size; at += 2 * PAGE)
		if (madvise(memory + at, PAGE, MADV_DONTNEED))
			die("madvise");
}

/*
 * guest dirty BOOTS, as PID 1: soils memory and resets the machine until it has booted so many times. The time between two
 * boots varies, so that not every one is at the same point of the kernel's work behind PID 1.
 */
int dirty(int count, char **words)
{
	int boots = count > 0 ? atoi(words[0]) : 10;
	int boot;

	if (iopl(3))
		die("iopl");
	boot = boot_number();
	printf("boot %d\n", boot);
	if (boot & 1)
		usleep(20000 * (boot % 5));
	soil();
	if (boot >= boots)
		return 0;
	reset_machine();
}
