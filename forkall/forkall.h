/*
 * forkall.h - the C side of package forkall: what Go may call.
 */
#ifndef FORKALL_FORKALL_H
#define FORKALL_FORKALL_H

#include <stdint.h>

/* The exit status of a child whose threads couldn't be made: EX_OSERR. */
#define FORKALL_UNMADE 71

/* What the child gets over the numbers of its network sockets; -1: keep them. */
struct forkall_cut {
	int listener; /* over listening sockets */
	int stream;   /* over other stream sockets */
	int datagram; /* over the rest */
};

/* What a call did. Times are nanoseconds of the try that succeeded. */
struct forkall_stats {
	uint64_t hold;     /* from the first signal until all threads were held */
	uint64_t read;     /* descriptors and timers */
	uint64_t copy;     /* fork(2) itself */
	uint64_t stopped;  /* from the first signal until all were told to go on */
	uint32_t threads;  /* held */
	uint32_t descriptors;
	uint32_t watched;  /* registrations in epoll sets */
	uint32_t tries;
};

/*
 * forkall_fork forks with all threads. It returns twice: the child's pid in the
 * parent, 0 in the child; or once, with -errno: -ENOSYS when this libc, this
 * kernel or this Go runtime is not understood, -EAGAIN when some thread couldn't
 * be held in time, or what fork(2) says. *why then says more, as a constant
 * string. After an error all threads go on as before.
 *
 * Calls must not overlap. The caller must be in an ordinary cgo call.
 */
long forkall_fork(const struct forkall_cut *cut, const char **why, struct forkall_stats *stats);

/*
 * forkall_look finds out what has to be known of kernel, libc and runtime, from the
 * calling thread; once that has succeeded it does nothing. Returns 0 or -errno, with
 * *why as above. forkall_fork begins with it.
 */
int forkall_look(const char **why);

/* How many forks lie between this process and the one that was executed. */
extern _Atomic uint32_t forkall_generation;

#endif
