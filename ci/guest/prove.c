/*
 * guest prove PROCESSORS [NAME...], as PID 1: for each row below whose name begins with one of these (all, if there is none) a
 * boot in which nobody has looked at anything before that row does, then a reset with memory that is full of old bytes.
 * PID 1 asks for the processor before the kernel's threads of lower priority get it, so what a kernel has left for later is
 * still to be done. What happens is told in the kernel's log, between the kernel's own messages, by lines with `prove:`.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MEBIBYTE = 1 << 20, LIMIT_S = 90, FAMILIES = 46 };

static int processors;
static int kmsg = -1;

/* A line in the kernel's log. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char line[512] = "<5>prove: ";
	size_t length = strlen(line);
	va_list args;

	va_start(args, format);
	length += vsnprintf(line + length, sizeof line - length, format, args);
	va_end(args);
	if (length >= sizeof line)
		length = sizeof line - 1;
	/* Without its end, a line waits for the next one. */
	line[length++] = '\n';
	if (write(kmsg, line, length) < 0)
		printf("%.*s", (int)length - 3, line + 3);
}

/* Says what went wrong, and gives what a row then gives. */
__attribute__((format(printf, 1, 2))) static int wrong(const char *format, ...)
{
	char text[400];
	int error = errno;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	say("FAILED: %s (errno: %s)", text, strerror(error));
	return 1;
}

static void procfs(void)
{
	mkdir("/proc", 0555);
	mount("proc", "/proc", "proc", 0, NULL);
}

static void sysfs(void)
{
	mkdir("/sys", 0555);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
}

static void devtmpfs(void)
{
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

static int write_to(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done = file < 0 ? -1 : write(file, text, strlen(text));

	if (file >= 0)
		close(file);
	return done < 0 ? -1 : 0;
}

/* From now on, other threads have their turn: what takes long would look to the kernel as if something hung. */
static void no_hurry(void)
{
	struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_OTHER, &none);
}

/* Reads all of a file; how many bytes there were. */
static long read_all(const char *path)
{
	static char some[1 << 16];
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	long all = 0;
	ssize_t got;

	if (file < 0)
		return -1;
	while ((got = read(file, some, sizeof some)) > 0)
		all += got;
	close(file);
	return got < 0 && !all ? -1 : all;
}

static int must_read(const char *path)
{
	long bytes = read_all(path);

	return bytes > 0 ? 0 : wrong("%s has %ld bytes", path, bytes);
}

static int must_list(const char *path, const char *name)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int found = 0;

	while (directory && (entry = readdir(directory)))
		found |= !strcmp(entry->d_name, name);
	if (directory)
		closedir(directory);
	return found ? 0 : wrong("%s has no %s", path, name);
}

/* Sockets. A kernel need not have every family, but it has to answer. */
static int try_socket(int family, int type, int protocol)
{
	int one = socket(family, type | SOCK_CLOEXEC, protocol);

	if (one >= 0)
		close(one);
	return one >= 0 ? 0 : -1;
}

static int must_socket(int family, int type, int protocol)
{
	return try_socket(family, type, protocol) ? wrong("socket(%d, %d, %d)", family, type, protocol) : 0;
}

static int loopback_mtu(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int one = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (one < 0 || ioctl(one, SIOCGIFMTU, &request) || request.ifr_mtu != 65536)
		return wrong("lo has an MTU of %d", request.ifr_mtu);
	close(one);
	return 0;
}

static int tcp(void) { return must_socket(AF_INET, SOCK_STREAM, 0) || loopback_mtu(); }
static int udp(void) { return must_socket(AF_INET, SOCK_DGRAM, 0) || loopback_mtu(); }
static int raw(void) { return must_socket(AF_INET, SOCK_RAW, 1) || loopback_mtu(); }
static int packet(void) { return must_socket(AF_PACKET, SOCK_RAW, 0) || loopback_mtu(); }
static int unix_stream(void) { return must_socket(AF_UNIX, SOCK_STREAM, 0) || loopback_mtu(); }
static int vsock(void) { return must_socket(AF_VSOCK, SOCK_STREAM, 0) || loopback_mtu(); }
static int generic(void) { return must_socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC) || loopback_mtu(); }

static int pair(void)
{
	int ends[2];

	return socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) ? wrong("socketpair") : loopback_mtu();
}

static int families(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, 10 };

	for (int family = 0; family < FAMILIES; family++)
		for (size_t type = 0; type < sizeof TYPES / sizeof *TYPES; type++)
			for (int protocol = 0; protocol < 3; protocol++)
				try_socket(family, TYPES[type], protocol);
	for (int protocol = 0; protocol < 24; protocol++)
		try_socket(AF_NETLINK, SOCK_RAW, protocol);
	return tcp();
}

/* A family that the kernel has not: it asks for a module, in the middle of whatever it does for the first socket. */
static int missing_family(void)
{
	if (!try_socket(AF_BLUETOOTH, SOCK_RAW, 0))
		return wrong("there is Bluetooth");
	return loopback_mtu();
}

static int links(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} ask = { { sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { .ifi_family = AF_UNSPEC } };
	int one = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char answer[8192];

	if (one < 0 || send(one, &ask, sizeof ask, 0) < 0)
		return wrong("asking for links");
	if (recv(one, answer, sizeof answer, 0) < (ssize_t)sizeof ask || !memmem(answer, sizeof answer, "lo", 3))
		return wrong("no lo among the links");
	return 0;
}

static int uevents(void)
{
	struct sockaddr_nl all = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int one = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	char event[2048];

	if (one < 0 || bind(one, (void *)&all, sizeof all))
		return wrong("a socket for events");
	sysfs();
	if (write_to("/sys/class/net/lo/uevent", "add"))
		return wrong("asking for an event of lo");
	return recv(one, event, sizeof event, 0) > 0 ? 0 : wrong("no event of lo");
}

static int namespace(void) { return unshare(CLONE_NEWNET) ? wrong("unshare") : loopback_mtu(); }

static int namespace_clone(void)
{
	pid_t pid = syscall(SYS_clone, CLONE_NEWNET | CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	int status;

	if (!pid)
		_exit(loopback_mtu());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return wrong("clone");
	return loopback_mtu();
}

static int namespace_enter(void)
{
	int mine;

	procfs();
	mine = open("/proc/self/ns/net", O_RDONLY);
	if (mine < 0 || setns(mine, CLONE_NEWNET))
		return wrong("setns");
	return loopback_mtu();
}

static int namespace_sysfs(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		return wrong("unshare");
	sysfs();
	return must_list("/sys/class/net", "lo");
}

/* Namespaces come and go while others use theirs. */
static int namespace_many(void)
{
	int status, failed = 0;

	for (int i = 0; i < 12; i++)
		if (!fork())
			_exit(namespace());
	while (wait(&status) > 0)
		failed += status != 0;
	return failed ? wrong("%d of 12 namespaces", failed) : loopback_mtu();
}

static int proc_net_dev(void) { procfs(); return must_read("/proc/net/dev"); }
static int proc_net_tcp(void) { procfs(); return must_read("/proc/self/net/tcp"); }
static int proc_net(void) { procfs(); return must_list("/proc/self/net", "dev"); }
static int proc_sys(void) { procfs(); return must_list("/proc/sys", "net") || must_list("/proc/sys/net", "ipv4"); }
static int sysctl_read(void) { procfs(); return must_read("/proc/sys/net/core/somaxconn"); }

static int sysctl_write(void)
{
	procfs();
	if (write_to("/proc/sys/net/ipv4/ip_forward", "1"))
		return wrong("writing ip_forward");
	return must_read("/proc/sys/net/ipv4/conf/lo/forwarding");
}

static int sys_class(void) { sysfs(); return must_list("/sys/class", "net") || must_list("/sys/class/net", "lo"); }
static int sys_lo(void) { sysfs(); return must_read("/sys/class/net/lo/mtu"); }
static int sys_lo_device(void) { sysfs(); return must_read("/sys/devices/virtual/net/lo/address"); }

/* io_uring asks for a socket from a place of its own. */
static int ring(void)
{
	struct io_uring_params params = { 0 };
	int file = syscall(SYS_io_uring_setup, 4, &params);
	char *rings = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, IORING_OFF_SQ_RING);
	struct io_uring_sqe *entry = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, IORING_OFF_SQES);

	if (file < 0 || rings == MAP_FAILED || entry == MAP_FAILED)
		return wrong("io_uring");
	memset(entry, 0, sizeof *entry);
	entry->opcode = 45; /* IORING_OP_SOCKET */
	entry->fd = AF_INET;
	entry->off = SOCK_STREAM;
	entry->flags = IOSQE_ASYNC;
	((unsigned *)(rings + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(rings + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, file, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return wrong("io_uring_enter");
	return loopback_mtu();
}

/* Many at once, each by another door. */
static int at_once(int (*const *doors)(void), int count)
{
	int status, failed = 0;

	for (int i = 0; i < count; i++)
		if (!fork())
			_exit(doors[i]());
	while (wait(&status) > 0)
		failed += status != 0;
	return failed ? wrong("%d of %d", failed, count) : 0;
}

static int doors_at_once(void)
{
	static int (*const DOORS[])(void) = { tcp, proc_net_dev, sys_class, namespace, links, unix_stream, sysctl_read, sys_lo };

	return at_once(DOORS, sizeof DOORS / sizeof *DOORS);
}

/* Whoever waits for the first socket is killed; the next one gets his. */
static int killed(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(tcp());
	usleep(500);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return tcp();
}

/* Nobody asks: what was left is done when the guest is idle. */
static int nobody(void)
{
	no_hurry();
	usleep(1500 * 1000);
	return tcp();
}

/* Struct pages, and who walks them. */
static int page_types(void) { procfs(); return must_read("/proc/pagetypeinfo"); }
static int page_flags(void) { procfs(); return must_read("/proc/kpageflags"); }
static int page_count(void) { procfs(); return must_read("/proc/kpagecount"); }
static int page_cgroup(void) { procfs(); return must_read("/proc/kpagecgroup"); }

static int counters(void)
{
	procfs();
	return must_read("/proc/zoneinfo") || must_read("/proc/meminfo") || must_read("/proc/buddyinfo") ||
	       must_read("/proc/vmstat") || must_read("/proc/slabinfo") || must_read("/proc/iomem");
}

static int compaction(void)
{
	procfs();
	return write_to("/proc/sys/vm/compact_memory", "1") ? wrong("compact_memory") : 0;
}

static int huge(void)
{
	static const char *const COUNTS[] = { "20", "0", "40", "7", "0" };
	char text[32];

	procfs();
	for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
		if (write_to("/proc/sys/vm/nr_hugepages", COUNTS[i]) || slurp("/proc/sys/vm/nr_hugepages", text, sizeof text) < 0)
			return wrong("nr_hugepages");
		if (atoi(text) != atoi(COUNTS[i]))
			return wrong("%d huge pages instead of %s", atoi(text), COUNTS[i]);
	}
	return 0;
}

static int huge_used(void)
{
	char *memory;

	procfs();
	if (write_to("/proc/sys/vm/nr_hugepages", "16"))
		return wrong("nr_hugepages");
	memory = mmap(NULL, 32 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		return wrong("16 huge pages");
	memset(memory, 0xaa, 32 * MEBIBYTE);
	munmap(memory, 32 * MEBIBYTE);
	return write_to("/proc/sys/vm/nr_hugepages", "0") ? wrong("nr_hugepages") : 0;
}

/* What writes to the limits of memory counts its pages again. */
static int watermarks(void)
{
	static const char *const FILES[][2] = {
		{ "/proc/sys/vm/min_free_kbytes", "4096" },        { "/proc/sys/vm/watermark_scale_factor", "50" },
		{ "/proc/sys/vm/lowmem_reserve_ratio", "32 32 8" }, { "/proc/sys/vm/percpu_pagelist_high_fraction", "64" },
		{ "/proc/sys/vm/drop_caches", "3" },               { "/proc/sys/vm/stat_refresh", "1" },
	};

	procfs();
	for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
		if (write_to(FILES[i][0], FILES[i][1]) && errno != ENOENT)
			return wrong("%s", FILES[i][0]);
	return must_read("/proc/zoneinfo");
}

/* Memory is taken in all sizes, by several at once, before the kernel was idle. */
static int hunger(void)
{
	static int (*const ALL[])(void) = { huge_used, page_flags, page_types, compaction };
	struct sysinfo info;
	char *memory;
	size_t size;
	int failed;

	if (sysinfo(&info))
		return wrong("sysinfo");
	size = info.totalram * info.mem_unit / 4 & -(size_t)PAGE;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return wrong("%zu bytes", size);
	no_hurry();
	failed = at_once(ALL, sizeof ALL / sizeof *ALL);
	munmap(memory, size);
	return failed;
}

static int holes(void)
{
	no_hurry();
	soil();
	procfs();
	return compaction() || page_types() || page_flags() || huge();
}

/* Blocks of memory are taken away and given back, where the kernel can do that; what is in use stays. */
static int blocks(void)
{
	const char *where = "/sys/devices/system/memory";
	DIR *directory;
	struct dirent *entry;
	char path[512];

	sysfs();
	directory = opendir(where);
	while (directory && (entry = readdir(directory))) {
		int number;

		if (sscanf(entry->d_name, "memory%d", &number) != 1)
			continue;
		snprintf(path, sizeof path, "%s/%.200s/state", where, entry->d_name);
		if (!write_to(path, "offline") && write_to(path, "online"))
			return wrong("%s does not come back", path);
	}
	if (directory)
		closedir(directory);
	return 0;
}

/* Somebody takes more than there is, and is killed for it. */
static int too_much(void)
{
	struct sysinfo info;
	int status;
	pid_t pid;

	no_hurry();
	pid = fork();

	if (!pid) {
		size_t size, at;
		char *memory;

		procfs();
		write_to("/proc/self/oom_score_adj", "1000");
		sysinfo(&info);
		size = info.totalram * info.mem_unit + 64 * MEBIBYTE;
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		for (at = 0; memory != MAP_FAILED && at < size; at += PAGE)
			memory[at] = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : wrong("not killed: status %#x", status);
}

/* Trees. Some files of /proc give what they have once, do something, or have no end; they are left alone. */
static bool dangerous(const char *path)
{
	static const char *const NAMES[] = { "/proc/kmsg", "/proc/kcore", "/proc/sysrq-trigger", "/proc/sys/vm/compact_memory",
					     "/sys/kernel/debug", "/proc/1/task", "/sys/kernel/tracing" };

	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (!strcmp(path, NAMES[i]))
			return true;
	return !strncmp(path, "/proc/", 6) && strstr(path, "/pagemap");
}

static long walked;

static void walk(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		char inner[1024];
		struct stat is;

		snprintf(inner, sizeof inner, "%.500s/%.500s", path, entry->d_name);
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || dangerous(inner))
			continue;
		walked++;
		if (lstat(inner, &is)) {
			/* Processes end. */
			if (strncmp(path, "/proc", 5))
				wrong("%s is listed and is not there", inner);
		} else if (S_ISDIR(is.st_mode)) {
			walk(inner);
		} else if (S_ISREG(is.st_mode) && is.st_mode & 0444) {
			read_all(inner);
		} else if (S_ISLNK(is.st_mode)) {
			char target[1024];

			if (readlink(inner, target, sizeof target) < 0 && strncmp(path, "/proc", 5))
				wrong("link %s", inner);
		}
	}
	if (directory)
		closedir(directory);
}

static int tree_of(const char *path)
{
	no_hurry();
	walk(path);
	say("%s: %ld entries", path, walked);
	return walked > 20 ? 0 : wrong("%s is empty", path);
}

static int all_sys(void) { sysfs(); return tree_of("/sys"); }
static int all_proc(void) { procfs(); return tree_of("/proc"); }
static int all_sysctl(void) { procfs(); return tree_of("/proc/sys"); }
static int all_dev(void) { devtmpfs(); return must_list("/dev", "null") || must_list("/dev", "zero"); }

static int trees_at_once(void)
{
	static int (*const ALL[])(void) = { all_sys, all_sysctl, all_sys, all_proc, all_sysctl, all_dev };

	return at_once(ALL, sizeof ALL / sizeof *ALL);
}

/* Names are asked for that nobody has listed, by several at once: none may find them missing. */
static int look_up(void)
{
	static const char *const NAMES[] = { "/sys/devices/virtual/mem/null/dev", "/sys/class/net/lo/mtu", "/sys/module/printk",
					     "/sys/devices/system/cpu/online", "/sys/kernel/mm", "/sys/class/tty/tty/dev" };

	sysfs();
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (access(NAMES[i], F_OK))
			return wrong("%s is not there", NAMES[i]);
	return 0;
}

static int look_ups_at_once(void)
{
	static int (*const ALL[])(void) = { look_up, look_up, look_up, look_up, look_up, look_up, look_up, look_up };

	return at_once(ALL, sizeof ALL / sizeof *ALL);
}

/* Every event that a file of /sys can be asked to send again. */
static void ask_for_events(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char inner[1024];

	while (directory && (entry = readdir(directory))) {
		snprintf(inner, sizeof inner, "%.500s/%.500s", path, entry->d_name);
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			ask_for_events(inner);
		else if (!strcmp(entry->d_name, "uevent"))
			write_to(inner, "change");
	}
	if (directory)
		closedir(directory);
}

static int events(void)
{
	sysfs();
	ask_for_events("/sys/devices");
	return 0;
}

/* Processors. */
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

/* One after the other goes and comes back, while all compute. */
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

static const struct {
	const char *name;
	int (*run)(void);
	/* Afterwards, memory is written to, and every second page given back. */
	bool soils;
} ROWS[] = {
	{ "memory/pagetypeinfo", page_types, true },
	{ "memory/kpageflags", page_flags, false },
	{ "memory/kpagecount", page_count, false },
	{ "memory/kpagecgroup", page_cgroup, false },
	{ "memory/compaction", compaction, false },
	{ "memory/huge-pages", huge, true },
	{ "memory/huge-pages-used", huge_used, false },
	{ "memory/counters", counters, false },
	{ "memory/watermarks", watermarks, false },
	{ "memory/hunger", hunger, false },
	{ "memory/holes", holes, false },
	{ "memory/blocks", blocks, false },
	{ "memory/too-much", too_much, false },
	{ "processors/affinity", count_first, false },
	{ "processors/online", count_sys, false },
	{ "processors/go-and-come", processors_go, false },
	{ "trees/look-ups-at-once", look_ups_at_once, false },
	{ "trees/at-once", trees_at_once, false },
	{ "trees/sys", all_sys, false },
	{ "trees/proc", all_proc, false },
	{ "trees/sysctl", all_sysctl, false },
	{ "trees/dev", all_dev, false },
	{ "trees/events", events, false },
	{ "network/doors-at-once", doors_at_once, true },
	{ "network/nobody", nobody, false },
	{ "network/tcp", tcp, false },
	{ "network/udp", udp, false },
	{ "network/raw", raw, false },
	{ "network/packet", packet, false },
	{ "network/unix", unix_stream, false },
	{ "network/pair", pair, false },
	{ "network/vsock", vsock, false },
	{ "network/generic-netlink", generic, false },
	{ "network/links", links, false },
	{ "network/uevents", uevents, false },
	{ "network/families", families, false },
	{ "network/missing-family", missing_family, false },
	{ "network/io_uring", ring, false },
	{ "network/killed", killed, false },
	{ "network/namespace", namespace, false },
	{ "network/namespace-clone", namespace_clone, false },
	{ "network/namespace-enter", namespace_enter, false },
	{ "network/namespace-sysfs", namespace_sysfs, false },
	{ "network/namespaces", namespace_many, false },
	{ "network/proc-dev", proc_net_dev, false },
	{ "network/proc-tcp", proc_net_tcp, false },
	{ "network/proc-list", proc_net, false },
	{ "network/sysctl-list", proc_sys, false },
	{ "network/sysctl-read", sysctl_read, false },
	{ "network/sysctl-write", sysctl_write, false },
	{ "network/class", sys_class, false },
	{ "network/lo", sys_lo, false },
	{ "network/device", sys_lo_device, false },
};

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

int prove(int count, char **words)
{
	struct sched_param first = { .sched_priority = 1 };
	int boot = boot_number(), boots = 0, failed;
	size_t row = 0;

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
		if (asked_for(ROWS[i].name, count - 1, words + 1) && ++boots == boot)
			row = i;
	if (count < 1 || !boots)
		die("prove: PROCESSORS, and names of rows");
	/* The last row's kernel ended before it was done. */
	if (boot > boots)
		return 1;
	processors = atoi(words[0]);
	mkdir("/dev", 0755);
	mknod("/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	say("boot %d of %d: %s", boot, boots, ROWS[row].name);
	sched_setscheduler(0, SCHED_FIFO, &first);
	failed = in_time(ROWS[row].run);
	no_hurry();
	/* The kernel does the rest; then all that it has counts. */
	usleep(200 * 1000);
	procfs();
	read_all("/proc/pagetypeinfo");
	if (ROWS[row].soils)
		soil();
	say("%s: %s", ROWS[row].name, failed ? "failed" : "done");
	if (boot == boots) {
		say("%d boots done", boots);
		/* The UART still has the end of that. */
		usleep(200 * 1000);
		return 0;
	}
	reset_machine();
}
