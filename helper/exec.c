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

/* From linux/futex.h, which musl's headers come without. */
#define FUTEX_WAKE 1

struct caller {
	struct rawfork_plan *plan;
	uint64_t id;
	uint32_t nfds; /* that are to come */
	uint64_t helper_ignored;

	struct rf_inherit inherit;
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
	uint64_t changed = c->inherit.ignored ^ c->helper_ignored;
	struct kernel_sigaction action = { 0 };

	for (int sig = 1; changed; sig++, changed >>= 1) {
		if (!(changed & 1))
			continue;
		action.handler = c->inherit.ignored >> (sig - 1) & 1 ? (void *)SIG_IGN : (void *)SIG_DFL;
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

/* The cgroup was needed for the clone, and so came to the helper. */
static int is_cgroup(const struct rawfork_plan *plan, uint32_t i)
{
	return plan->flags & RAWFORK_CGROUP && i == (uint32_t)plan->cgroup;
}

/* Receives RF_INHERIT and puts its descriptors into the plan. *dir is the working
 * directory that comes with it, or -1. Returns 0 or an errno. */
static int receive_inherit(struct caller *c, int sock, int *dir)
{
	struct rf_header h;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * RF_FDS)];
	} control;
	struct iovec vec[2] = { { &h, sizeof h }, { &c->inherit, sizeof c->inherit } };
	struct msghdr msg = { .msg_iov = vec, .msg_iovlen = 2,
			      .msg_control = &control, .msg_controllen = sizeof control };
	int32_t *fds = (int32_t *)(c->plan + 1);
	const int *received = (const int *)CMSG_DATA(&control.header);
	uint32_t n = 0;
	ssize_t got = syscall(SYS_recvmsg, sock, &msg, MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno;
	if (msg.msg_flags & MSG_CTRUNC) /* no room in the descriptor table */
		return EMFILE;
	if (msg.msg_controllen >= sizeof control.header)
		n = (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (got != sizeof h + sizeof c->inherit || h.magic != RF_MAGIC || h.version != RF_VERSION ||
	    h.type != RF_INHERIT || h.id != c->id)
		return EBADMSG;
	if (c->inherit.flags & RF_INHERIT_CANCEL)
		return ECANCELED;
	if (c->inherit.flags & RF_INHERIT_DIR)
		*dir = n ? received[--n] : -1;
	if (n != c->nfds)
		return EBADMSG;
	for (uint32_t i = 0; i < c->plan->nfds; i++)
		if (fds[i] != RF_NOT_OPEN && !is_cgroup(c->plan, i))
			fds[i] = received[fds[i]];
	return 0;
}

static struct rawfork_failure inherit(struct rawfork_birth *birth, int32_t pid)
{
	struct caller *c = birth->arg;
	const struct rf_inherit *in = &c->inherit;
	int dir = -1, error = receive_inherit(c, birth->report, &dir);

	if (error)
		return (struct rawfork_failure){ RAWFORK_STEP_RECEIVE, error };
	birth->mask = in->mask;
	if (in->set_limits >> RLIMIT_NOFILE & 1)
		birth->nofile = in->limits[RLIMIT_NOFILE];
	if (c->plan->flags & RAWFORK_PIDFD && send_pidfd(c, birth->report, pid) < 0)
		return failed(RAWFORK_STEP_TELL);
	if (dir >= 0 && syscall(SYS_fchdir, dir) < 0)
		return failed(RAWFORK_STEP_INHERIT_DIR);
	syscall(SYS_umask, in->umask);
	for (unsigned i = 0; i < RF_LIMITS; i++)
		if (in->set_limits >> i & 1 && inherit_limit(i, in->limits[i]) < 0)
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
static int take_nproc(const struct rf_exec *exec, struct rlimit *old)
{
	struct rlimit limit;

	if (!exec->set_nproc || getrlimit(RLIMIT_NPROC, old))
		return 0;
	limit = *old;
	limit.rlim_cur = exec->nproc < limit.rlim_max ? exec->nproc : limit.rlim_max;
	return !setrlimit(RLIMIT_NPROC, &limit);
}

void rf_born_end(volatile struct rf_born *born, uint64_t id)
{
	uint32_t waits = id;

	if (__atomic_compare_exchange_n(&born->waits, &waits, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		syscall(SYS_futex, &born->waits, FUTEX_WAKE, 1L, NULL, NULL, 0L);
}

static void start(struct rf_message *m, int sock, volatile struct rf_born *born)
{
	const struct rf_exec *exec = (const struct rf_exec *)m->body;
	size_t size;
	struct rawfork_plan *plan = rf_exec_plan(m->body, m->header.length, &size);
	struct caller c = {
		.plan = plan, .id = m->header.id, .nfds = exec->nfds,
		.helper_ignored = ignored_signals(),
	};
	struct rawfork_birth birth = {
		.born = &born->pid, .gone = &born->waits, .prepare = inherit, .arg = &c, .report = sock,
	};
	struct rlimit nproc;
	int taken;

	/* Here: in a new pid namespace the child doesn't know the group's number. */
	if (getpgrp() != exec->pgid && setpgid(0, exec->pgid)) {
		born->started.failure = (struct rawfork_failure){ RAWFORK_STEP_INHERIT_PGID, errno };
		return;
	}
	if (m->header.nfds)
		((int32_t *)(plan + 1))[plan->cgroup] = m->fds[0];
	taken = take_nproc(exec, &nproc);
	rawfork_start_for_parent(plan, size, &birth, (struct rawfork_started *)&born->started);
	if (taken)
		setrlimit(RLIMIT_NPROC, &nproc);
}

void rf_spawn_exec(struct rf_message *m, int sock, volatile struct rf_born *born)
{
	born->pid = -1;
	born->id = m->header.id;
	start(m, sock, born);
	rf_born_end(born, m->header.id);
}
