/*
 * ccall.h - C that calls back into Go, for tests: _test.go files can't use cgo.
 */
#ifndef RAWFORK_CCALL_H
#define RAWFORK_CCALL_H

#include <stdint.h>

/* ccall_here calls the Go function of the handle on the calling thread. */
void ccall_here(uintptr_t handle);

/*
 * ccall_thread calls the Go function of the handle on a new thread that Go
 * knows nothing of, and waits for it. Returns 0 or an errno of pthread_create.
 */
int ccall_thread(uintptr_t handle);

/*
 * ccall_flush writes one byte to fd through a stream of libc's and flushes all
 * streams: where fd can't take the byte, it blocks with libc's lock on the list
 * of streams held. Returns 0 or an errno.
 */
int ccall_flush(int fd);

/* ccall_first_tid returns what libc takes for the id of the process's first thread:
 * the id that it keeps in memory, which fork(2) alone doesn't put right. */
int ccall_first_tid(void);

/* ccall_has_underscore_fork tells whether libc has _Fork(3). */
int ccall_has_underscore_fork(void);

#endif
