/* The floor: the fewest system calls that run a 64-bit guest with 128 MiB, as a yardstick for runners.
 *
 * It creates no interrupt hardware, reads no file, looks at no argument and checks only what it must. The guest rings
 * the doorbell, which puts one byte on standard output, and ends the machine; so the time from fork to that byte, and
 * to the exit, is what Linux and KVM take. Exit status 1: a call failed. 2: the guest did something else. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MEMORY = 128 << 20,
	/* Three levels of page tables, and the code, each on a page of its own. */
	TOP = 0x9000,
	GIGABYTES = 0xa000,
	MEGABYTES = 0xb000,
	CODE = 0x100000,
	TABLE = 0x3,		/* present, writable */
	PAGE = 0x83,		/* present, writable, of the level's own size */
	CR4_PAE = 1 << 5,
	EFER_LME_LMA = 1 << 8 | 1 << 10,
};

static const uint8_t code[] = {
	0x66, 0xba, READY & 0xff, READY >> 8,	/* mov $READY, %dx */
	0xb0, READY_BYTE,			/* mov $READY_BYTE, %al */
	0xee,					/* out %al, %dx */
	0x66, 0xba, EXIT & 0xff, EXIT >> 8,	/* mov $EXIT, %dx */
	0xee,					/* out %al, %dx */
	0xf4,					/* hlt */
};

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[256];
} cpuid = { .head.nent = 256 };

static void must(int ok)
{
	if (!ok)
		_exit(1);
}

static void fill(uint8_t *memory)
{
	uint64_t *megabytes = (uint64_t *)(memory + MEGABYTES);

	*(uint64_t *)(memory + TOP) = GIGABYTES | TABLE;
	*(uint64_t *)(memory + GIGABYTES) = MEGABYTES | TABLE;
	for (uint64_t i = 0; i < 512; i++)
		megabytes[i] = i << 21 | PAGE;
	memcpy(memory + CODE, code, sizeof code);
}

static void enter_long_mode(int vcpu)
{
	struct kvm_segment data = { .limit = UINT32_MAX, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_segment text = { .limit = UINT32_MAX, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	must(!ioctl(vcpu, KVM_GET_SREGS, &sregs));
	sregs.cr3 = TOP;
	sregs.cr4 |= CR4_PAE;
	sregs.cr0 |= 1UL << 31 | 1;	/* PG, PE */
	sregs.efer |= EFER_LME_LMA;
	sregs.cs = text;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	must(!ioctl(vcpu, KVM_SET_SREGS, &sregs));
	must(!ioctl(vcpu, KVM_SET_REGS, &regs));
}

static int run(int vcpu, const struct kvm_run *shared)
{
	for (;;) {
		must(!ioctl(vcpu, KVM_RUN, 0));
		if (shared->exit_reason != KVM_EXIT_IO)
			return 2;
		if (shared->io.port == EXIT)
			return 0;
		must(write(1, (const uint8_t *)shared + shared->io.data_offset, 1) == 1);
	}
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY, .userspace_addr = (uintptr_t)memory };
	struct kvm_run *shared;
	int vcpu;

	must(memory != MAP_FAILED);
	/* The calls before this one fail here if they did. */
	must(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
	shared = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	must(shared != MAP_FAILED);
	must(!ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid));
	must(!ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	fill(memory);
	enter_long_mode(vcpu);
	_exit(run(vcpu, shared));
}
