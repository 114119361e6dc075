/* First uses of the network. A kernel need not have every family of sockets, but it must answer. */
#define _GNU_SOURCE
#include "prove.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAMILIES = 46 };

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

/* A family that the kernel lacks: it requests a module, in the middle of what it does for the first socket. */
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

/* io_uring creates sockets by a path of its own. */
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

static int doors_at_once(void)
{
	static int (*const DOORS[])(void) = { tcp, proc_net_dev, sys_class, namespace, links, unix_stream, sysctl_read, sys_lo };

	return at_once(DOORS, sizeof DOORS / sizeof *DOORS);
}

/* A process that waits for the first socket is killed; the next one gets its socket. Where in its wait is left to chance. */
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

/* Nobody asks: the kernel does what it has postponed once the guest has been idle for a while. */
static int nobody(void)
{
	no_hurry();
	usleep(1500 * 1000);
	return tcp();
}

const struct row NETWORK_ROWS[] = {
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
	{ 0 },
};
