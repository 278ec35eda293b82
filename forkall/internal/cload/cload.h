/* cload.h - C code that is at work while somebody forks all threads. */
#ifndef FORKALL_CLOAD_H
#define FORKALL_CLOAD_H

#include <stdint.h>

/* cload_malloc allocates and frees blocks of many sizes, n times. */
void cload_malloc(int n);

/* cload_sleep sleeps for so many microseconds, whatever signals come. */
void cload_sleep(int microseconds);

/* cload_open opens a library and closes it. Returns 0, or -1. */
int cload_open(void);

/* cload_thread makes a thread that allocates and ends, and waits for its end. Returns an errno. */
int cload_thread(void);

/*
 * cload_masked makes a thread that blocks all signals and works for ever. It adds
 * 1 to *progress each time round. Returns an errno.
 */
int cload_masked(int64_t *progress);

/*
 * cload_vfork makes a child by vfork(2), which writes a byte to ready, reads one from
 * end, and ends. Until then the calling thread stands still in the kernel. Returns an
 * errno.
 */
int cload_vfork(int ready, int end);

/*
 * cload_decoy gives the calling thread a word of TLS that looks like one of Go's: it
 * points at memory like a runtime.g, which points at memory like a runtime.m, in which
 * the thread's id stands so many times.
 */
void cload_decoy(int ids);

/*
 * cload_rseq registers glibc's restartable sequences for the calling thread, as glibc
 * did when it made the thread. Returns an errno: EBUSY when they are registered, ENOSYS
 * when glibc hasn't got them.
 */
int cload_rseq(void);

#endif
