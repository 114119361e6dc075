/*
 * guest load: what a kernel's limits allow, and how long it takes, a line each: a name, how much of it went wrong, and the
 * microseconds of the guest's clock.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMS = 40, CHUNK = 1 << 16, CHUNKS = 10, DATAGRAMS = 80, DATAGRAM = 1000, FILES = 30000, PIPES = 40 };

static char chunk[CHUNK];

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int any = socket(AF_INET, SOCK_DGRAM, 0);

	if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request))
		die("lo");
	close(any);
}

static int send_all(void *data)
{
	for (int i = 0; i < CHUNKS; i++)
		for (size_t left = CHUNK; left > 0;) {
			ssize_t done = write(*(int *)data, chunk, left);

			if (done <= 0)
				return 1;
			left -= done;
		}
	return 0;
}

static int take_all(void *data)
{
	char some[4096];
	long all = 0;
	ssize_t got;

	while ((got = read(*(int *)data, some, sizeof some)) > 0)
		all += got;
	return all != (long)CHUNK * CHUNKS;
}

static void told(const char *name, int wrong, double began)
{
	printf("%s %d %.0f\n", name, wrong, now_us() - began);
}

/* Two children for each pair of descriptors: one writes, one reads. */
static int carry(int from, int to)
{
	in_child(send_all, &from);
	close(from);
	in_child(take_all, &to);
	close(to);
	return 0;
}

static void tcp(void)
{
	struct sockaddr_in address = loopback(5000);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	double began = now_us();

	if (bind(listener, (void *)&address, sizeof address) || listen(listener, STREAMS))
		die("listen");
	for (int i = 0; i < STREAMS; i++) {
		int one = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(one, (void *)&address, sizeof address))
			die("connect");
		carry(one, accept(listener, NULL, NULL));
	}
	told("tcp", children_failed(), began);
	close(listener);
}

/* Every datagram is there before anybody takes one. */
static void udp(void)
{
	int sockets[STREAMS], from = socket(AF_INET, SOCK_DGRAM, 0), missing = STREAMS * DATAGRAMS;
	double began = now_us();

	for (int i = 0; i < STREAMS; i++) {
		struct sockaddr_in address = loopback(6000 + i);

		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(sockets[i], (void *)&address, sizeof address))
			die("bind");
	}
	for (int k = 0; k < DATAGRAMS; k++)
		for (int i = 0; i < STREAMS; i++) {
			struct sockaddr_in address = loopback(6000 + i);

			sendto(from, chunk, DATAGRAM, MSG_DONTWAIT, (void *)&address, sizeof address);
		}
	for (int i = 0; i < STREAMS; i++) {
		while (recv(sockets[i], chunk, sizeof chunk, MSG_DONTWAIT) > 0)
			missing--;
		close(sockets[i]);
	}
	close(from);
	told("udp", missing, began);
}

static void pipes(void)
{
	double began = now_us();

	for (int i = 0; i < PIPES; i++) {
		int ends[2];

		if (pipe(ends))
			die("pipe");
		carry(ends[1], ends[0]);
	}
	told("pipes", children_failed(), began);
}

/* Root may open more files than there may be: this is somebody else. */
static int open_many(void *data)
{
	int opened = 0;
	(void)data;

	if (setgid(1000) || setuid(1000))
		die("setuid");
	while (opened < FILES && open("/proc/self/exe", O_RDONLY) >= 0)
		opened++;
	if (opened < FILES)
		fprintf(stderr, "guest: %d files are open, and then: %s\n", opened, strerror(errno));
	return opened < FILES;
}

static void files(void)
{
	struct rlimit limit = { 2 * FILES, 2 * FILES };
	double began = now_us();

	if (setrlimit(RLIMIT_NOFILE, &limit))
		die("setrlimit");
	in_child(open_many, NULL);
	told("files", children_failed(), began);
}

int load(int count, char **words)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} LOADS[] = { { "tcp", tcp }, { "udp", udp }, { "pipes", pipes }, { "files", files } };

	loopback_up();
	for (size_t i = 0; i < sizeof LOADS / sizeof *LOADS; i++) {
		int wanted = count == 0;

		for (int word = 0; word < count; word++)
			wanted |= !strcmp(words[word], LOADS[i].name);
		if (wanted)
			LOADS[i].run();
	}
	return 0;
}
