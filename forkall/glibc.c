//go:build linux && amd64

/* glibc.c - what is found out about glibc. */

#define _GNU_SOURCE
#include "glibc.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#include "held.h"

#ifdef __GLIBC__

static long tls_size;
static const uint32_t *linker_state;
static size_t linker_words;
static const _Atomic int *threads_lock;

/* since glibc 2.35 */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
#define RSEQ_SIGNATURE 0x53053053
#define RSEQ_LEAST 32 /* what glibc registers, whatever it uses */

/* program_tls finds the TLS of the first object, which is the program. */
static int program_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_TLS)
			tls_size = (long)((p->p_memsz + p->p_align - 1) & -p->p_align);
	}
	return 1;
}

/* A list's head is pointed back at by its first element and by its last. */
struct list {
	struct list *next, *prev;
};

static int is_head(const struct list *at)
{
	struct list head, first, last;

	return runtime_read((uintptr_t)at, &head, sizeof head) == 0 &&
	       runtime_read((uintptr_t)head.next, &first, sizeof first) == 0 && first.prev == at &&
	       runtime_read((uintptr_t)head.prev, &last, sizeof last) == 0 && last.next == at;
}

/*
 * find_threads_lock looks in the linker's state, since glibc 2.34, for the lists
 * of used, of foreign and of unused stacks, which are followed by two words and
 * the lock. Elsewhere there is no lock to look at.
 */
static void find_threads_lock(void)
{
	const char *state = (const char *)linker_state;
	size_t size = linker_words * sizeof *linker_state;

	for (size_t at = 0; at + 3 * sizeof(struct list) + 2 * sizeof(size_t) < size; at += sizeof(size_t)) {
		const struct list *list = (const struct list *)(state + at);

		if (is_head(list) && is_head(list + 1) && is_head(list + 2))
			threads_lock = (const _Atomic int *)((const size_t *)(list + 3) + 2);
	}
}

int glibc_look(const char **why)
{
	void *state = dlsym(RTLD_DEFAULT, "_rtld_global");
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	if (state != NULL && dladdr1(state, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol != NULL) {
		linker_state = state;
		linker_words = symbol->st_size / sizeof *linker_state;
		find_threads_lock();
	}
	dl_iterate_phdr(program_tls, NULL);
	if (tls_size > 0)
		return 0;
	*why = "the program has no TLS";
	return -ENOSYS;
}

long glibc_tls_size(void)
{
	return tls_size;
}

const uint32_t *glibc_linker_state(size_t *words)
{
	*words = linker_words;
	return linker_state;
}

int glibc_threads_busy(void)
{
	return threads_lock != NULL && atomic_load(threads_lock) != 0;
}

void glibc_rseq(uintptr_t tls)
{
	if (&__rseq_size != NULL && __rseq_size != 0)
		raw(SYS_rseq, tls + (uintptr_t)__rseq_offset,
		    __rseq_size > RSEQ_LEAST ? __rseq_size : RSEQ_LEAST, 0, RSEQ_SIGNATURE);
}

#else

int glibc_look(const char **why)
{
	*why = "the C library is not glibc";
	return -ENOSYS;
}

long glibc_tls_size(void)
{
	return 0;
}

const uint32_t *glibc_linker_state(size_t *words)
{
	*words = 0;
	return NULL;
}

int glibc_threads_busy(void)
{
	return 0;
}

void glibc_rseq(uintptr_t tls)
{
	(void)tls;
}

#endif
