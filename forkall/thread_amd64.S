/*
 * thread_amd64.S - a thread is made anew, and a handler returns.
 */

/*
 * long forkall_clone(unsigned long flags, struct thread *thread,
 *                    int *parent_tid, int *child_tid, uintptr_t tls)
 *
 * clone(2). The new thread starts on the stack below *thread, in the frame of the
 * handler that held the thread it is a copy of. It runs forkall_thread_start, and
 * then returns from that handler as the thread itself would have: by rt_sigreturn
 * at thread->context, which gives it back its registers, mask and stacks.
 */
	.text
	.globl	forkall_clone
	.type	forkall_clone, @function
forkall_clone:
	mov	%rsi, %r9		/* thread: clone keeps it */
	and	$-16, %rsi
	mov	%rcx, %r10
	mov	$56, %eax		/* SYS_clone */
	syscall
	test	%rax, %rax
	jz	1f
	ret
1:	xor	%ebp, %ebp
	mov	%r9, %rdi
	mov	%r9, %rbx
	call	forkall_thread_start
	mov	8(%rbx), %rsp		/* thread->context */
	/* fall through */

/* forkall_restorer is where a handler returns to: rt_sigreturn(2). */
	.globl	forkall_restorer
	.type	forkall_restorer, @function
forkall_restorer:
	mov	$15, %eax		/* SYS_rt_sigreturn */
	syscall

	.section .note.GNU-stack, "", @progbits
