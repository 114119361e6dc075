/*
 * PID 1 of a 32-bit guest. A return from the kernel to a stack whose segment is a 16-bit one restores the lower half of the stack
 * pointer only; the kernel has to see to it that the upper half is the program's. Ends the machine by a byte to a port: 0
 * if it is, 1 if it is the kernel's, 2 if that cannot be found out.
 */
enum { IOPL = 110, MODIFY_LDT = 123, GETPID = 20, EXIT_PORT = 0xa04, UPPER_HALF = 0x1234, SELECTOR = 7 };

struct user_desc {
	unsigned entry, base, limit, flags;
};

static char stack[1 << 16];
static unsigned saved_esp, saved_ss;

static int call(int number, int one, void *two, int three)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three) : "memory");
	return result;
}

__attribute__((noreturn)) static void end(unsigned char byte)
{
	for (;;)
		__asm__ volatile("outb %0, %1" : : "a"(byte), "d"((unsigned short)EXIT_PORT));
}

static unsigned stack_pointer_after_a_call(void)
{
	unsigned esp;

	__asm__ volatile("mov %%esp, %[saved_esp]\n\t"
			 "mov %%ss, %[saved_ss]\n\t"
			 "mov %[selector], %%ss\n\t"
			 "mov %[inner], %%esp\n\t"
			 "int $0x80\n\t"
			 "mov %%esp, %%ecx\n\t"
			 "mov %[saved_ss], %%ss\n\t"
			 "mov %[saved_esp], %%esp\n\t"
			 : "=&c"(esp), [saved_esp] "+m"(saved_esp), [saved_ss] "+m"(saved_ss)
			 : "a"(GETPID), [selector] "d"(SELECTOR), [inner] "i"(UPPER_HALF << 16 | 0x8000)
			 : "memory");
	return esp;
}

void _start(void)
{
	/* Data, writable, of 16 bits, counted in bytes, there to be used. */
	struct user_desc desc = { .base = (unsigned)stack, .limit = sizeof stack - 1, .flags = 1 << 6 };

	if (call(IOPL, 3, 0, 0))
		__builtin_trap();
	if (call(MODIFY_LDT, 1, &desc, sizeof desc))
		end(2);
	end(stack_pointer_after_a_call() >> 16 != UPPER_HALF);
}
