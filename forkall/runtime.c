//go:build linux && amd64

/*
 * runtime.c - what is known of the Go runtime and of the dynamic linker, found by
 * looking and used only when it was found exactly once.
 *
 * Go sends its preemption signals to the thread id in runtime.m, which is wrong in
 * the child. The way there leads from a thread's TLS to its runtime.g, from there
 * to its runtime.m, and there to the word procid. In a cgo call the g in TLS is
 * g0, and the m's first word points at g0: that tells them from other words.
 */

#include "held.h"

#include <errno.h>

#include "glibc.h"

#define G_WORDS 32
#define M_WORDS 256

static long tls_to_g;   /* bytes from the thread's TLS base, negative */
static long g_to_m;     /* bytes */
static long m_to_procid;

/* runtime_read copies memory that may not be there. It returns 0 when it is. */
int runtime_read(uintptr_t address, void *to, size_t size)
{
	struct { void *at; size_t size; } local = { to, size }, remote = { (void *)address, size };
	long got = raw(SYS_process_vm_readv, raw(SYS_getpid), &local, 1, &remote, 1, 0);

	return got == (long)size ? 0 : got < 0 ? (int)got : -EFAULT;
}

/* find_procid looks for the words of m that are the caller's thread id. */
static int find_procid(const uintptr_t *m, long tid)
{
	int found = 0;

	for (int i = 1; i < M_WORDS; i++)
		if (m[i] == (uintptr_t)tid) {
			m_to_procid = i * (long)sizeof *m;
			found++;
		}
	return found;
}

/* find_m looks for the words of g that point at an m whose g0 is g. */
static int find_m(uintptr_t g, long tid)
{
	uintptr_t words[G_WORDS], m[M_WORDS];
	int found = 0, here;

	if (g == 0 || g % sizeof g != 0 || runtime_read(g, words, sizeof words) != 0)
		return 0;
	for (int i = 0; i < G_WORDS; i++) {
		if (words[i] == 0 || words[i] % sizeof g != 0 || runtime_read(words[i], m, sizeof m) != 0 || m[0] != g)
			continue;
		here = find_procid(m, tid);
		if (here > 0)
			g_to_m = i * (long)sizeof *m;
		found += here;
	}
	return found;
}

/* runtime_find is called once, in a cgo call. */
int runtime_find(const char **why)
{
	long size = glibc_tls_size(), tid = raw(SYS_gettid);
	uintptr_t base = glibc_tls_base(), g;
	int found = 0;

	for (long at = -(long)sizeof g; at >= -size; at -= (long)sizeof g) {
		int here;

		if (runtime_read(base + (uintptr_t)at, &g, sizeof g) != 0)
			continue;
		here = find_m(g, tid);
		if (here > 0)
			tls_to_g = at;
		found += here;
	}
	if (found == 1)
		return 0;
	*why = found == 0 ? "the thread ids of this Go runtime are not found"
			  : "the thread ids of this Go runtime are found in several places";
	return -ENOSYS;
}

/* runtime_m returns the calling thread's runtime.m, or 0 where Go has none. */
uintptr_t runtime_m(uintptr_t tls)
{
	uintptr_t g = *(uintptr_t *)(tls + (uintptr_t)tls_to_g);

	return g == 0 ? 0 : *(uintptr_t *)(g + (uintptr_t)g_to_m);
}

static uint64_t *procid(const struct thread *thread)
{
	return (uint64_t *)(thread->m + (uintptr_t)m_to_procid);
}

/*
 * runtime_settled tells whether a held thread's m has its id. A new thread that
 * has asked the kernel for its id, and not stored it yet, would store a wrong one
 * in the child.
 */
int runtime_settled(const struct thread *thread)
{
	return thread->m == 0 || *procid(thread) == (uint64_t)thread->tid;
}

/* runtime_mend gives the m of a thread made anew its new id. */
void runtime_mend(const struct thread *thread)
{
	*procid(thread) = (uint64_t)thread->tid;
}

/*
 * linker_busy tells whether a held thread is in one of the dynamic linker's
 * recursive locks. Those remember their owner's thread id; in the child it
 * changes, and the owner could not give the lock back.
 */
int linker_busy(void)
{
	size_t words;
	const uint32_t *at = glibc_linker_state(&words);

	for (size_t i = 0; i + GLIBC_MUTEX_WORDS <= words; i += 2) {
		if (at[i] == 0 || at[i + GLIBC_MUTEX_OWNER] == 0 || at[i + GLIBC_MUTEX_KIND] != GLIBC_MUTEX_RECURSIVE)
			continue;
		for (int k = 0; k < thread_count; k++)
			if ((uint32_t)threads[k]->tid == at[i + GLIBC_MUTEX_OWNER])
				return 1;
	}
	return 0;
}
