/*
 * Guests without a kernel that do not want to end, or want the runner to do too much: rows host/ends/ of `cargo xtask test`.
 * Which one it is, -DGUEST=NAME says; each rings ready first.
 *
 * virtio's registers and structures are those of virtio 1.2: 4.2.2 (MMIO), 2.7 (split virtqueues), 5.2 (disks), 5.3 (consoles),
 * 5.5 (balloons). Addresses are below 4 GiB and mapped by the tables that this makes.
 */
#include <stddef.h>
#include <stdint.h>

enum { READY = 0xa00, STDOUT = 0xa01, EXIT = 0xa04, STDIN_READY = 0xa0c, READY_BYTE = 123 };

/* Registers of a device, and bits of its status. */
enum {
	FEATURES = 0x20, FEATURES_SEL = 0x24, QUEUE_SEL = 0x30, QUEUE_NUM = 0x38, QUEUE_READY = 0x44, NOTIFY = 0x50, STATUS = 0x70,
	DESCRIPTORS = 0x80, AVAILABLE = 0x90, USED = 0xa0,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { INDIRECT_DESC = 28, VERSION_1 = 32, PAGE_REPORTING = 5 };

/* Flags of a descriptor. */
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

enum { PAGE = 4096, HUGE = 2 << 20, ENTRIES = 512 };

struct descriptor { uint64_t address; uint32_t length; uint16_t flags, next; };

struct queue {
	struct descriptor descriptors[256];
	struct { uint16_t flags, index, ring[256]; } available;
	struct { uint16_t flags, index; uint64_t ring[256]; } used __attribute__((aligned(4)));
} __attribute__((aligned(PAGE)));

static uint64_t tables[6][ENTRIES] __attribute__((aligned(PAGE)));
static struct queue queues[5];
static struct descriptor chain[256] __attribute__((aligned(16)));
static volatile struct { uint32_t kind, unused; uint64_t sector; uint8_t status; } request;

/* Guest memory that nothing else is in. */
static const uint64_t BUFFER = 16 << 20;

static void out(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* The only device's registers. */
static volatile uint32_t *reg(size_t offset)
{
	return (volatile uint32_t *)(0xd0001000 + offset);
}

/* Maps the first 4 GiB to themselves. */
static void map(void)
{
	enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80 };

	tables[0][0] = (uint64_t)tables[1] | PRESENT | WRITABLE;
	for (size_t gib = 0; gib < 4; gib++) {
		tables[1][gib] = (uint64_t)tables[2 + gib] | PRESENT | WRITABLE;
		for (size_t i = 0; i < ENTRIES; i++)
			tables[2 + gib][i] = (gib * ENTRIES + i) * HUGE | PRESENT | WRITABLE | LARGE;
	}
	asm volatile("mov %0, %%cr3" : : "r"(tables[0]) : "memory");
}

static void set_up_queue(uint32_t number, uint32_t size)
{
	struct queue *queue = &queues[number];

	*reg(QUEUE_SEL) = number;
	*reg(QUEUE_NUM) = size;
	*reg(DESCRIPTORS) = (uint32_t)(uintptr_t)queue->descriptors;
	*reg(AVAILABLE) = (uint32_t)(uintptr_t)&queue->available;
	*reg(USED) = (uint32_t)(uintptr_t)&queue->used;
	*reg(QUEUE_READY) = 1;
}

static void set_up(uint64_t features, uint32_t count, uint32_t size)
{
	map();
	*reg(STATUS) = 0;
	*reg(STATUS) = ACKNOWLEDGE | DRIVER;
	features |= 1ull << VERSION_1;
	for (uint32_t half = 0; half < 2; half++) {
		*reg(FEATURES_SEL) = half;
		*reg(FEATURES) = (uint32_t)(features >> 32 * half);
	}
	*reg(STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	for (uint32_t number = 0; number < count; number++)
		set_up_queue(number, size);
	*reg(STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

/* Offers the same indirect chain of this many descriptors as often as the queue takes it. */
static void offer(uint32_t number, uint16_t size, uint32_t count)
{
	struct queue *queue = &queues[number];

	queue->descriptors[0] = (struct descriptor){ (uint64_t)chain, count * sizeof *chain, INDIRECT, 0 };
	queue->available.index = size;
	asm volatile("mfence" : : : "memory");
	*reg(NOTIFY) = number;
}

/* 256 requests for 3.75 GiB each, all into the same memory. */
static void read_much(void)
{
	enum { BUFFERS = 60, LENGTH = 64 << 20 };

	set_up(1ull << INDIRECT_DESC, 1, 256);
	chain[0] = (struct descriptor){ (uint64_t)&request, 16, NEXT, 1 };
	for (uint16_t i = 1; i <= BUFFERS; i++)
		chain[i] = (struct descriptor){ BUFFER, LENGTH, NEXT | WRITE, i + 1 };
	chain[BUFFERS + 1] = (struct descriptor){ (uint64_t)&request.status, 1, WRITE, 0 };
	offer(0, 256, BUFFERS + 2);
}

static __attribute__((unused)) void disk(void)
{
	read_much();
	for (;;)
		;
}

static __attribute__((unused)) void disk_exit(void)
{
	read_much();
	out(EXIT, 0);
}

static __attribute__((unused)) void disk_reset(void)
{
	read_much();
	*reg(STATUS) = 0;
	out(EXIT, 0);
}

/* As much free memory as the queues take, reported again and again. */
static __attribute__((unused)) void balloon(void)
{
	/* A chain has less than 4 GiB. */
	enum { SIZE = 64, BUFFERS = 7 };

	set_up(1ull << PAGE_REPORTING | 1ull << INDIRECT_DESC, 5, SIZE);
	for (uint16_t i = 0; i < BUFFERS; i++)
		chain[i] = (struct descriptor){ BUFFER, 512 << 20, WRITE | (i < BUFFERS - 1 ? NEXT : 0), i + 1 };
	for (uint32_t number = 2; number < 5; number++)
		offer(number, SIZE, BUFFERS);
	out(EXIT, 0);
}

static __attribute__((unused)) void output(void)
{
	for (;;)
		out32(STDOUT, 0x41414141);
}

/* More than a terminal or a pipe takes. */
static __attribute__((unused)) void console(void)
{
	set_up(0, 2, 64);
	queues[1].descriptors[0] = (struct descriptor){ BUFFER, 1 << 20, 0, 0 };
	queues[1].available.index = 1;
	asm volatile("mfence" : : : "memory");
	*reg(NOTIFY) = 1;
	for (volatile int i = 0; i < 1000; i++)
		;
	out(EXIT, 0);
}

static __attribute__((unused)) void input(void)
{
	for (;;)
		in32(STDIN_READY);
}

/* The driver is ready, is not, is ready. */
static __attribute__((unused)) void toggle(void)
{
	set_up(0, 1, 256);
	for (;;) {
		*reg(STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK;
		*reg(STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
	}
}

void guest(void)
{
	out(READY, READY_BYTE);
	GUEST();
}
