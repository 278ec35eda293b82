/*
 * raw.h - system calls without libc.
 *
 * While threads are held any of them may own any lock of libc's, and in the
 * child libc doesn't know its threads yet. So nothing here, and nothing that
 * runs then, calls libc, but for what the compiler makes of a small memory copy.
 */
#ifndef FORKALL_RAW_H
#define FORKALL_RAW_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* From linux/futex.h, which musl hasn't got. Of one process only: FUTEX_PRIVATE_FLAG. */
#define FUTEX_SLEEP 128
#define FUTEX_WAKE_UP 129

static inline long raw6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* raw(number, up to six arguments) returns a result or -errno. */
#define raw(...) RAW_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(n, a, b, c, d, e, f, ...) \
	raw6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline uint64_t now(void) /* monotonic, in nanoseconds */
{
	struct timespec t;

	raw(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * sleep_on sleeps while *word is value, at most limit nanoseconds; 0: no limit.
 * It may return early.
 */
static inline void sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t limit)
{
	struct timespec t = { (time_t)(limit / 1000000000), (long)(limit % 1000000000) };

	raw(SYS_futex, word, FUTEX_SLEEP, value, limit != 0 ? &t : 0);
}

static inline void wake_all(_Atomic uint32_t *word)
{
	raw(SYS_futex, word, FUTEX_WAKE_UP, INT32_MAX);
}

#endif
