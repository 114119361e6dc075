/* The halting kernel: rings the doorbell, ends the machine, stops.
 *
 * It uses no stack, no memory and no descriptor table. Every instruction means the same in 64-bit mode (Linux's
 * 64-bit boot protocol, Documentation/arch/x86/boot.rst) and in 32-bit mode (PVH, for VMMs that enter that way). */
	.section .text, "ax"
	.globl	start
start:
	movl	$READY, %edx
	movb	$READY_BYTE, %al
	outb	%al, %dx		/* the doorbell */
	movl	$EXIT, %edx
	movb	$0, %al
	outb	%al, %dx		/* the end, where there is a runner */
stop:
	cli
	hlt
	jmp	stop			/* a non-maskable interrupt wakes even a halted processor */

/* PVH's entry: include/xen/interface/elfnote.h of Linux, XEN_ELFNOTE_PHYS32_ENTRY. */
	.section .note.pvh, "a", @note
	.balign	4
	.long	4			/* bytes of the name */
	.long	4			/* bytes of the value */
	.long	18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start
	.section .note.GNU-stack, "", @progbits
