/* The entry of a hostile guest: 64-bit mode, as Linux's boot protocol has it. The runner's page tables are still in use. */
	.section .text.start, "ax"
	.globl	start
start:
	cli
	movq	$stack_end, %rsp
	call	guest
stop:
	hlt
	jmp	stop

	.section .note.GNU-stack, "", @progbits
