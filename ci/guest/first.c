/*
 * guest first DOOR: how long the first use of something takes, in microseconds of the guest's clock, which the second use of it
 * is no measure for. Some kernels get ready for it only then.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

enum { MEBIBYTE = 1 << 20, PAGE = 4096 };

static int a_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int a_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int random_bytes(void)
{
	char bytes[32];

	return getrandom(bytes, sizeof bytes, 0) == sizeof bytes ? 0 : -1;
}

static int list(const char *path)
{
	DIR *directory = opendir(path);
	int count = 0;

	while (directory && readdir(directory))
		count++;
	return directory ? count : -1;
}

static int sysctls(void)
{
	return list("/proc/sys");
}

static int sysfs(void)
{
	return list("/sys/class");
}

static int touched(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	for (size_t at = 0; at < size; at += PAGE)
		memory[at] = 1;
	return 0;
}

static int touch64(void)
{
	return touched(64 * MEBIBYTE);
}

static int touch100(void)
{
	return touched(100 * MEBIBYTE);
}

static const struct {
	const char *name;
	int (*open)(void);
} DOORS[] = {
	{ "socket", a_socket }, { "unix", a_unix_socket }, { "random", random_bytes }, { "sysctl", sysctls },
	{ "sysfs", sysfs },     { "64M", touch64 },        { "100M", touch100 },
};

int first(int count, char **words)
{
	for (int word = 0; word < count; word++)
		for (size_t i = 0; i < sizeof DOORS / sizeof *DOORS; i++)
			if (!strcmp(words[word], DOORS[i].name)) {
				double began = now_us();
				int got = DOORS[i].open();
				double took = now_us() - began;

				if (got < 0)
					die("%s", words[word]);
				printf("%s %.1f\n", words[word], took);
			}
	return 0;
}
