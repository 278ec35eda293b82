/*
 * cfork.h - the C side of rawfork.Fork.
 *
 * Whoever calls into this file from Go must hold every signal blocked and keep
 * its P: that is, between runtime_BeforeFork and runtime_AfterFork, and by
 * runtime.asmcgocall, never by an ordinary cgo call (see ARCHITECTURE.md).
 */
#ifndef RAWFORK_CFORK_H
#define RAWFORK_CFORK_H

/*
 * rawfork_fork calls _Fork(3): libc's fork without atfork handlers and without
 * libc's locks, so it waits for nobody, and libc's cached thread id is right in
 * the child. There only async-signal-safe functions may be called. An older libc
 * that lacks _Fork gives fork(3), which waits for its locks.
 *
 * Returns twice: the child's pid in the parent, 0 in the child; or once, with
 * -errno, when no child was made. arg is not used: asmcgocall passes one.
 */
int rawfork_fork(void *arg);

#endif
