/*
 * start.h - makes a child by fork, vfork or posix_spawn and has it run a plan.
 *
 * All of it happens in one call, so the child never comes back to the caller's
 * code, and the caller may be a Go program that calls by ordinary cgo.
 */
#ifndef RAWFORK_START_H
#define RAWFORK_START_H

#include "plan.h"

enum rawfork_method {
	RAWFORK_FORK,
	RAWFORK_VFORK,
	RAWFORK_SPAWN,
};

struct rawfork_started {
	int32_t pid;   /* the child that runs the program, or -1 */
	int32_t pidfd; /* the caller's to close, or -1 */
	struct rawfork_failure failure; /* why there is no child; step 0: there is */
};

/*
 * rawfork_start checks and links the plan of size bytes and starts it. It returns
 * when the child has executed the program, or failed and is reaped. After a
 * failure no child and no descriptor is left.
 *
 * fork: _Fork(3), libc's fork without atfork handlers (fork(3) where there is
 * none); or clone(2) without CLONE_VM when the plan has clone flags, a cgroup or a
 * pidfd, which a fork can't take. The child runs raw system calls only, so nothing
 * of libc's that clone leaves stale is used.
 *
 * vfork: the child has the caller's memory and a stack of its own, and the
 * calling thread waits for its execve. A plan whose id maps the parent must
 * write can't be started so: EINVAL. Plans that change ids must be started one
 * at a time, since the "dumpable" mark of the memory is put back afterwards.
 *
 * posix_spawn: takes files, dir, setsid and setpgid; the caller must have refused
 * plans with more. RLIMIT_NOFILE stays the caller's.
 */
void rawfork_start(void *plan, size_t size, int method, struct rawfork_started *started);

/*
 * How the helper process makes a child for its parent: a sibling of its own.
 *
 * The kernel writes the child's pid, as the parent sees it, to *born before the child
 * runs. A child that has the helper's memory has it write 0 to *gone, with a FUTEX_WAKE
 * (of a futex that processes share), when that is given up: the program is executed or
 * the child has ended, and then the failure is in started. Older kernels don't, and not
 * when the helper has ended before.
 *
 * prepare runs in the child, ahead of the plan and with all signals blocked, and may
 * have the helper's memory: raw system calls only. pid is the child's again. It sets
 * mask and nofile, and the descriptors of the plan's fds. report stays open until the
 * program is executed, so that the parent can tell when.
 */
struct rawfork_birth {
	volatile int32_t *born;
	volatile uint32_t *gone;
	struct rawfork_failure (*prepare)(struct rawfork_birth *birth, int32_t pid);
	void *arg; /* for prepare */
	int report;
	uint64_t mask;          /* the new program's */
	const uint64_t *nofile; /* RLIMIT_NOFILE as the parent has it, or NULL: as here */
};

/*
 * rawfork_start_for_parent is rawfork_start by vfork, or by clone without CLONE_VM
 * when the id maps must be written by another process, with CLONE_PARENT. The
 * caller has one thread. It doesn't reap: after a failure, started->pid is a child
 * that has ended or is about to, for the parent to reap, or -1 if there was none.
 * The plan's pidfd is prepare's business. A plan with RAWFORK_PTRACE is refused,
 * and so is one that would share more with the caller than with its parent.
 */
void rawfork_start_for_parent(void *plan, size_t size, struct rawfork_birth *birth,
			      struct rawfork_started *started);

/* Of RAWFORK_CLONEFLAGS, those that tie the child to who makes it. */
#define RAWFORK_CLONE_SHARED                                                     \
	(0x00000200ull /* FS */ | 0x00002000ull /* PTRACE */ | 0x00040000ull /* SYSVSEM */ \
	 | 0x80000000ull /* IO */)

/* rawfork_spawn is the posix_spawn way, for rawfork_start only. */
void rawfork_spawn(struct rawfork_image *image, struct rawfork_started *started);

/*
 * rawfork_nofile gives the RLIMIT_NOFILE that the process was started with, as
 * seen by a constructor before the Go runtime could raise it: 0, or -errno.
 */
int rawfork_nofile(uint64_t *cur, uint64_t *max);

#endif
