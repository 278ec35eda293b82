// Package child is all that may run in the child between fork and its end.
//
// Every function here is safe in a child of rawfork.Fork: it doesn't allocate,
// take a lock, grow the stack or call anything but the kernel. A test reads that
// from the compiler's output. Functions whose names begin with Prepare are the
// exception: they allocate, and belong before the fork.
//
// Errors are [syscall.Errno]: 0 is success. They compare by ==, and may be put
// into an error only by the parent. Calls that a signal interrupts are taken up
// again. Descriptors may be non-blocking, as those of package net are: where
// read(2) or its like says EAGAIN, the function waits by poll(2). Use of the
// runtime's poller is out of the question: the child shares the parent's epoll
// instance.
//
// A function of one's own that runs in the child is marked
//
//	//go:nosplit
//	//go:norace
//
// and keeps to this package, to arithmetic, and to memory that was made before
// the fork. The linker checks that a chain of nosplit functions fits in what is
// left of a goroutine's stack, some 800 bytes: buffers are made before the fork.
//
// None of the functions has a thread rule: the child has one thread.
package child
