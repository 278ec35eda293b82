// Package child is all that may run in the child between fork and its end.
//
// Every function here is safe in a child of rawfork.Fork: it doesn't allocate,
// take a lock, grow the stack or call anything but the kernel. A test reads that
// from the machine code. Functions whose names begin with Prepare are the
// exception: they allocate, and belong before the fork.
//
// Errors are [syscall.Errno]: 0 is success. They compare by ==, and may be put
// into an error only by the parent. Calls that a signal interrupts are taken up
// again.
//
// Descriptors may be non-blocking, as those of package net are: where read(2) or
// its like says EAGAIN, the function waits by poll(2) and goes on. A blocking
// descriptor says EAGAIN only after a timeout that SO_RCVTIMEO or SO_SNDTIMEO
// set; that one is returned. The runtime's poller is out of the question: the
// child shares the parent's epoll instance.
//
// A function of one's own that runs in the child is marked
//
//	//go:nosplit
//	//go:norace
//
// and keeps to this package, to arithmetic, and to memory that was made before
// the fork. The linker checks that a chain of nosplit functions fits in what is
// left of a goroutine's stack, some 800 bytes: buffers are made before the fork.
// A function that calls this package's may have at least 64 bytes of variables,
// or a [Line], in every build, and several hundred where the compiler optimises.
// Code in the frame that called Fork needs no mark, but for norace.
//
// Indexing or cutting a slice there is allowed: a bounds check that holds calls
// nothing, and one that fails dies as a forbidden call does. Storing a pointer
// in memory outside of the own frame is not: while the parent's collector marks,
// that calls the write barrier.
//
// The child has one thread, so none of the functions has a thread rule. They are
// real on linux/amd64 and linux/arm64; elsewhere programs that use them build,
// and the functions give ENOSYS, which [errors.Is] takes for
// [errors.ErrUnsupported].
package child
