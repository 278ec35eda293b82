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

#endif
