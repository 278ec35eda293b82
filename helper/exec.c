//go:build linux && (amd64 || arm64)

/*
 * A program's start by the helper. What a child of the caller would have inherited
 * from it comes with the request, since the helper's own may have aged.
 */

#define _GNU_SOURCE
#include "spawn.h"

#include "start.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct caller {
	const struct rf_exec *exec;
	uint64_t id;
	int pidfd; /* the parent wants one */
	int dir;   /* or -1 */
	uint64_t helper_ignored;
};

/* The kernel's struct sigaction, not libc's. */
struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

/* ---- The child. It has the helper's memory: raw system calls only. ---- */

static struct rawfork_failure failed(int step)
{
	return (struct rawfork_failure){ step, errno };
}

/* The pidfd is the child's own to open: by the pid it might be another's already. */
static int send_pidfd(const struct caller *c, int sock, int32_t pid)
{
	struct rf_reply body = { .pid = pid };
	struct rf_header h = { RF_MAGIC, RF_VERSION, RF_PIDFD, c->id, sizeof body, 1 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vec[2] = { { &h, sizeof h }, { &body, sizeof body } };
	struct msghdr msg = { .msg_iov = vec, .msg_iovlen = 2,
			      .msg_control = &control, .msg_controllen = sizeof control };
	/* getpid: in a new pid namespace pid is another number. */
	int pidfd = syscall(SYS_pidfd_open, (long)syscall(SYS_getpid), 0L);

	if (pidfd < 0)
		return -1;
	memset(&control, 0, sizeof control);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof pidfd);
	memcpy(CMSG_DATA(&control.header), &pidfd, sizeof pidfd);
	if (syscall(SYS_sendmsg, sock, &msg, MSG_NOSIGNAL) < 0)
		return -1;
	return syscall(SYS_close, pidfd);
}

static void inherit_ignored(const struct caller *c)
{
	uint64_t changed = c->exec->ignored ^ c->helper_ignored;
	struct kernel_sigaction action = { 0 };

	for (int sig = 1; changed; sig++, changed >>= 1) {
		if (!(changed & 1))
			continue;
		action.handler = c->exec->ignored >> (sig - 1) & 1 ? (void *)SIG_IGN : (void *)SIG_DFL;
		syscall(SYS_rt_sigaction, sig, &action, NULL, sizeof action.mask);
	}
}

/*
 * A limit on descriptors is only raised here, while the child may: the helper has more of
 * them open than its parent's limit may allow, and the plan moves some before it puts
 * each in place. That is when the limit becomes the parent's.
 */
static int inherit_limit(long i, const uint64_t limit[2])
{
	uint64_t high[2];

	if (i == RLIMIT_NOFILE) {
		if (syscall(SYS_prlimit64, 0L, i, NULL, high) < 0)
			return -1;
		for (int j = 0; j < 2; j++)
			high[j] = limit[j] > high[j] ? limit[j] : high[j];
		limit = high;
	}
	return syscall(SYS_prlimit64, 0L, i, limit, NULL);
}

static struct rawfork_failure inherit(const struct rawfork_birth *birth, int32_t pid)
{
	const struct caller *c = birth->arg;
	const struct rf_exec *x = c->exec;

	if (c->pidfd && send_pidfd(c, birth->report, pid) < 0)
		return failed(RAWFORK_STEP_TELL);
	if (c->dir >= 0 && syscall(SYS_fchdir, c->dir) < 0)
		return failed(RAWFORK_STEP_INHERIT_DIR);
	syscall(SYS_umask, x->umask);
	for (unsigned i = 0; i < RF_LIMITS; i++)
		if (x->set_limits >> i & 1 && inherit_limit(i, x->limits[i]) < 0)
			return failed(RAWFORK_STEP_INHERIT_LIMITS);
	inherit_ignored(c);
	return (struct rawfork_failure){ 0, 0 };
}

/* ---- The helper. ---- */

/* The signals that the helper ignores, as its parent did at the start. It has no
 * handlers, and changes nothing. */
static uint64_t ignored_signals(void)
{
	static uint64_t ignored;
	static int known;
	struct kernel_sigaction action;

	for (int sig = 1; !known && sig <= 64; sig++)
		if (!syscall(SYS_rt_sigaction, sig, NULL, &action, sizeof action.mask) &&
		    action.handler == (void *)SIG_IGN)
			ignored |= 1ull << (sig - 1);
	known = 1;
	return ignored;
}

/*
 * The limit on processes is looked at in who forks. Its soft value only: the hard one
 * might not be raised again. Returns 1 if old is to be put back.
 */
static int take_nproc(const struct rf_exec *x, struct rlimit *old)
{
	struct rlimit limit;

	if (!(x->set_limits >> RLIMIT_NPROC & 1) || getrlimit(RLIMIT_NPROC, old))
		return 0;
	limit = *old;
	limit.rlim_cur = x->limits[RLIMIT_NPROC][0];
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	return !setrlimit(RLIMIT_NPROC, &limit);
}

struct rf_reply rf_spawn_exec(struct rf_message *m, int sock, volatile struct rf_born *born)
{
	size_t size;
	struct rawfork_plan *plan = rf_exec_plan(m->body, m->header.length, &size);
	int32_t *fds = (int32_t *)(plan + 1);
	struct caller c = {
		.exec = (const struct rf_exec *)m->body,
		.id = m->header.id,
		.pidfd = plan->flags & RAWFORK_PIDFD,
		.dir = -1,
		.helper_ignored = ignored_signals(),
	};
	struct rawfork_birth birth = {
		.born = &born->pid, .prepare = inherit, .arg = &c,
		.mask = c.exec->mask, .report = sock,
		.nofile = c.exec->set_limits >> RLIMIT_NOFILE & 1 ? c.exec->limits[RLIMIT_NOFILE] : NULL,
	};
	struct rawfork_started started;
	struct rlimit nproc;
	int taken;

	/* Here: in a new pid namespace the child doesn't know the group's number. */
	if (getpgrp() != c.exec->pgid && setpgid(0, c.exec->pgid)) {
		int error = errno;

		rf_message_free(m);
		return (struct rf_reply){ -1, error, RAWFORK_STEP_INHERIT_PGID };
	}
	if (c.exec->flags & RF_EXEC_DIR)
		c.dir = m->fds[m->header.nfds - 1];
	for (uint32_t i = 0; i < plan->nfds; i++)
		if (fds[i] != RF_NOT_OPEN)
			fds[i] = m->fds[fds[i]];
	born->pid = -1;
	born->id = m->header.id;
	taken = take_nproc(c.exec, &nproc);
	rawfork_start_for_parent(plan, size, &birth, &started);
	if (taken)
		setrlimit(RLIMIT_NPROC, &nproc);
	/* Before the answer: a file that the parent closes after it is closed. */
	rf_message_free(m);
	return (struct rf_reply){ started.pid, started.failure.error, started.failure.step };
}
