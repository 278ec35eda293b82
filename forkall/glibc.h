/*
 * glibc.h - what has to be known of glibc. Other libcs are not supported.
 */
#ifndef FORKALL_GLIBC_H
#define FORKALL_GLIBC_H

#include <stddef.h>
#include <stdint.h>

/* pthread_mutex_t as 32-bit words: lock, count, owner, nusers, kind. */
#define GLIBC_MUTEX_OWNER 2
#define GLIBC_MUTEX_KIND 4
#define GLIBC_MUTEX_WORDS 5
#define GLIBC_MUTEX_RECURSIVE 1

/* glibc_look is called once, while no thread is held. It returns 0 or -ENOSYS. */
int glibc_look(const char **why);

/* glibc_tls_base is the calling thread's TLS base, below which its TLS ends. */
static inline uintptr_t glibc_tls_base(void)
{
	uintptr_t base;

	__asm__("mov %%fs:0, %0" : "=r"(base)); /* the ABI has it there */
	return base;
}

/* glibc_tls_size is the size of the TLS of the program itself, in bytes. */
long glibc_tls_size(void);

/*
 * glibc_linker_state is the dynamic linker's own data, where its locks are, as
 * words; none in a static program.
 */
const uint32_t *glibc_linker_state(size_t *words);

/*
 * glibc_threads_busy tells whether somebody holds glibc's lock on its list of
 * threads: to make or end one, or to set ids (setuid(2) and others), for which
 * each thread is sent a signal. In the child nobody would get that signal.
 */
int glibc_threads_busy(void);

/* glibc_rseq gives a thread made anew its restartable sequences, if glibc has them. */
void glibc_rseq(uintptr_t tls);

#endif
