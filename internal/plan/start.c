//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif

/* From linux/sched.h, which musl's headers come without. */
#define CLONE_VM_FLAG 0x00000100ull
#define CLONE_PIDFD_FLAG 0x00001000ull
#define CLONE_VFORK_FLAG 0x00004000ull
#define CLONE_PARENT_FLAG 0x00008000ull
#define CLONE_PARENT_SETTID_FLAG 0x00100000ull
#define CLONE_CHILD_CLEARTID_FLAG 0x00200000ull
#define CLONE_NEWTIME_FLAG 0x00000080ull
#define CLONE_CLEAR_SIGHAND_FLAG 0x100000000ull
#define CLONE_INTO_CGROUP_FLAG 0x200000000ull
struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal;
	uint64_t stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* The executor's deepest call needs less than 4 kB on amd64 and arm64, most of it for
 * the pollfd[RAWFORK_CLOSED_EARLY] of close_before_exec, 2 kB. */
#define VFORK_STACK 16384

/* The exit status of a child that couldn't execute; nobody but tracers see it. */
#define EXIT_NOT_EXECUTED 253

/* POSIX.1-2024. glibc has it since 2.34, musl since 1.2.3. */
extern pid_t _Fork(void) __attribute__((weak));

struct start {
	struct rawfork_image image;
	struct rawfork_started *started;
	struct rawfork_birth *birth; /* NULL: the child is the caller's */
	struct rawfork_way way;
	int report[2]; /* how a forked child tells its failure */
	int sync[2];   /* how it is told that its id maps are written */
	int32_t self;  /* the forked child that was told so: its pid, as its parent sees it */
};

/* What a forked child is told once it may go on. */
struct go_on {
	struct rawfork_failure failure; /* of the id maps */
	int32_t pid;                    /* its own, as its parent sees it */
};

static struct rlimit first_nofile;
static int first_nofile_error = EINVAL;

/* 101: the first priority that isn't libc's own. */
__attribute__((constructor(101))) static void remember_nofile(void)
{
	first_nofile_error = getrlimit(RLIMIT_NOFILE, &first_nofile) == 0 ? 0 : errno;
}

int rawfork_nofile(uint64_t *cur, uint64_t *max)
{
	*cur = first_nofile.rlim_cur;
	*max = first_nofile.rlim_max;
	return -first_nofile_error;
}

/* libc's pthread_sigmask leaves signals 32 and 33 unblocked. */
static void set_mask(uint64_t mask, uint64_t *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

/* block_signals returns the mask to put back, and chooses the program's. */
static uint64_t block_signals(struct start *s)
{
	uint64_t old;

	set_mask(~0ull, &old);
	s->way.mask = old;
	return old;
}

static void fail(struct start *s, int step, int error)
{
	s->started->pid = -1;
	s->started->failure.step = step;
	s->started->failure.error = error;
}

static void close_pair(int fds[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* reap takes the status of a child that has reported its failure. */
static void reap(struct start *s)
{
	while (waitpid(s->started->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (s->started->pidfd >= 0)
		close(s->started->pidfd);
	s->started->pidfd = -1;
}

/* fail_child is for a child that has reported its failure, and ends. */
static void fail_child(struct start *s, struct rawfork_failure f)
{
	if (!s->birth) {
		reap(s);
		s->started->pid = -1;
	}
	s->started->failure = f;
}

/* By unshare the child writes its own id maps, by clone its parent must. */
static int parent_writes_maps(const struct rawfork_plan *p)
{
	return (p->flags & (RAWFORK_UID_MAP | RAWFORK_GID_MAP))
	       && !(p->unshareflags & RAWFORK_CLONE_NEWUSER);
}

static int needs_clone(const struct start *s)
{
	const struct rawfork_plan *p = s->image.plan;

	return s->birth || p->cloneflags != 0 || (p->flags & (RAWFORK_CGROUP | RAWFORK_PIDFD)) != 0;
}

static void clone_arguments(const struct start *s, struct clone3_args *a)
{
	const struct rawfork_plan *p = s->image.plan;

	memset(a, 0, sizeof(*a));
	a->flags = p->cloneflags;
	a->exit_signal = SIGCHLD;
	if (s->birth) { /* the exit signal is then the caller's own */
		a->flags |= CLONE_PARENT_FLAG | CLONE_PARENT_SETTID_FLAG;
		a->parent_tid = (uintptr_t)s->birth->born;
		a->exit_signal = 0;
	} else if (p->flags & RAWFORK_PIDFD) {
		a->flags |= CLONE_PIDFD_FLAG;
		a->pidfd = (uintptr_t)&s->started->pidfd;
	}
	if (p->flags & RAWFORK_CGROUP) {
		a->flags |= CLONE_INTO_CGROUP_FLAG;
		a->cgroup = s->image.fds[p->cgroup];
	}
}

/* What only clone3 can express; the rest also goes by clone. */
static int needs_clone3(const struct clone3_args *a)
{
	return (a->flags & (CLONE_INTO_CGROUP_FLAG | CLONE_NEWTIME_FLAG)) != 0;
}

/*
 * clone_on_stack is clone or clone3, whose child calls run(s) on the stack that
 * the arguments name. It is assembly because the child must not return into a
 * frame of the parent's, whose memory it shares.
 */
static long clone_on_stack(long number, long a1, long a2, long a3, void (*run)(struct start *), struct start *s)
{
#if defined(__x86_64__)
	long result;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %[s], %%rdi\n\t"
			 "call *%[run]\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "a"(number), "D"(a1), "S"(a2), "d"(a3), [run] "r"(run), [s] "r"(s)
			 : "rcx", "r11", "memory", "cc");
	return result;
#else
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a1;
	register long x1 __asm__("x1") = a2;
	register long x2 __asm__("x2") = a3;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x0, %[s]\n\t"
			 "blr %[run]\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), [run] "r"(run), [s] "r"(s)
			 : "memory", "cc");
	return x0;
#endif
}

/*
 * legacy_clone is clone(2), which has one argument for the pidfd and for the parent's
 * copy of the pid. It leaves birth's gone alone. With run, the child runs that on the
 * arguments' stack, and an error is returned as by clone_on_stack, not put into errno.
 */
static long legacy_clone(const struct clone3_args *a, void (*run)(struct start *), struct start *s)
{
	unsigned long flags = (a->flags & ~CLONE_CHILD_CLEARTID_FLAG) | a->exit_signal, stack = a->stack + a->stack_size;
	unsigned long tid = a->flags & CLONE_PIDFD_FLAG ? a->pidfd : a->parent_tid;

	if (run)
		return clone_on_stack(SYS_clone, flags, stack, tid, run, s);
	return syscall(SYS_clone, flags, 0L, tid, 0L, 0L);
}

/* ---- The child. Async-signal-safe calls only from here on. ---- */

static struct rawfork_failure await_maps(struct start *s)
{
	struct go_on go;
	ssize_t n;

	/* The parent's end, so that a parent that dies is seen. */
	syscall(SYS_close, s->sync[1]);
	n = syscall(SYS_read, s->sync[0], &go, sizeof(go));
	if (n != sizeof(go)) {
		go.failure.step = RAWFORK_STEP_SYNC;
		go.failure.error = n < 0 ? errno : EINVAL;
	}
	s->self = go.pid; /* not in started, of which a forked child may have no copy */
	return go.failure;
}

static struct rawfork_failure prepare(struct start *s, int32_t pid)
{
	struct rawfork_failure f = { 0, 0 };

	if (s->birth) {
		f = s->birth->prepare(s->birth, pid);
		s->way.mask = s->birth->mask;
		s->way.nofile = s->birth->nofile;
	}
	return f;
}

static void run_forked(struct start *s)
{
	struct rawfork_failure f = { 0, 0 };

	if (s->sync[0] >= 0)
		f = await_maps(s);
	if (f.step == 0)
		f = prepare(s, s->self);
	if (f.step == 0)
		f = rawfork_execute(&s->image, &s->way, &s->report[1]);
	syscall(SYS_write, s->report[1], &f, sizeof(f));
	for (;;)
		syscall(SYS_exit_group, EXIT_NOT_EXECUTED);
}

/* The failure is written to the parent's own memory: no pipe is needed. */
static void run_vforked(struct start *s)
{
	int report = s->birth ? s->birth->report : -1;
	struct rawfork_failure f = prepare(s, s->birth ? *s->birth->born : 0);

	if (f.step == 0)
		f = rawfork_execute(&s->image, &s->way, &report);
	s->started->failure = f;
	for (;;)
		syscall(SYS_exit_group, EXIT_NOT_EXECUTED);
}

/* ---- The parent. ---- */

static pid_t fork_copy(struct start *s)
{
	struct clone3_args a;
	pid_t pid;

	s->way.reset = 1;
	if (!needs_clone(s)) {
		/* No atfork handlers: the child makes raw system calls only, and needs
		 * none of the pages that they would have it copy. */
		pid = _Fork != NULL ? _Fork() : fork();
	} else {
		clone_arguments(s, &a);
		if (needs_clone3(&a)) {
			a.flags |= CLONE_CLEAR_SIGHAND_FLAG;
			s->way.reset = 0;
			pid = syscall(SYS_clone3, &a, sizeof(a));
		} else {
			pid = legacy_clone(&a, NULL, s);
		}
	}
	if (pid == 0)
		run_forked(s);
	return pid;
}

/* map_ids writes the child's id maps and lets it go on, or fail. */
static void map_ids(struct start *s)
{
	struct go_on go = { { 0, 0 }, s->started->pid };

	go.failure = rawfork_write_maps(&s->image, s->started->pid);

	/* The read end is still open here, so that a child that was killed meanwhile
	 * makes no SIGPIPE, and the pipe has room: this write can't fail. */
	if (write(s->sync[1], &go, sizeof(go)) != sizeof(go))
		kill(s->started->pid, SIGKILL);
	close_pair(s->sync);
}

static void start_by_fork(struct start *s)
{
	struct rawfork_failure f;
	uint64_t old;
	ssize_t n;
	int error;

	if (pipe2(s->report, O_CLOEXEC) < 0
	    || (parent_writes_maps(s->image.plan) && pipe2(s->sync, O_CLOEXEC) < 0)) {
		fail(s, RAWFORK_STEP_PIPE, errno);
		close_pair(s->report);
		return;
	}
	old = block_signals(s);
	s->started->pid = fork_copy(s);
	error = errno;
	if (s->started->pid > 0 && s->sync[0] >= 0)
		map_ids(s);
	set_mask(old, NULL);
	close(s->report[1]);
	s->report[1] = -1;
	if (s->started->pid < 0) {
		fail(s, needs_clone(s) ? RAWFORK_STEP_CLONE : RAWFORK_STEP_FORK, error);
	} else {
		/* End of file: the descriptor was closed by execve. */
		while ((n = read(s->report[0], &f, sizeof(f))) < 0 && errno == EINTR)
			;
		if (n == sizeof(f))
			fail_child(s, f);
	}
	close_pair(s->report);
	close_pair(s->sync);
}

static long vfork_on_stack(struct start *s, char *stack, size_t size)
{
	static int no_clone3;
	struct clone3_args a;
	long pid = -ENOSYS;

	clone_arguments(s, &a);
	a.flags |= CLONE_VM_FLAG | CLONE_VFORK_FLAG;
	if (s->birth) {
		a.flags |= CLONE_CHILD_CLEARTID_FLAG;
		a.child_tid = (uintptr_t)s->birth->gone;
	}
	a.stack = (uintptr_t)stack;
	a.stack_size = size;
	if (!__atomic_load_n(&no_clone3, __ATOMIC_RELAXED) || needs_clone3(&a)) {
		a.flags |= CLONE_CLEAR_SIGHAND_FLAG;
		s->way.reset = 0;
		pid = clone_on_stack(SYS_clone3, (long)&a, sizeof(a), 0, run_vforked, s);
		a.flags &= ~CLONE_CLEAR_SIGHAND_FLAG;
		/* Seccomp filters that can't look into the arguments say ENOSYS. */
		if (pid == -ENOSYS && !needs_clone3(&a))
			__atomic_store_n(&no_clone3, 1, __ATOMIC_RELAXED);
	}
	if (pid == -ENOSYS && !needs_clone3(&a)) {
		s->way.reset = 1;
		pid = legacy_clone(&a, run_vforked, s);
	}
	return pid;
}

/*
 * A child of vfork that changes its ids marks the memory as not dumpable, and
 * that memory is the parent's: it would lose its core dumps and its /proc files.
 */
static int changes_ids(const struct rawfork_plan *p)
{
	return (p->flags & RAWFORK_CREDENTIAL) || p->ncaps > 0
	       || ((p->cloneflags | p->unshareflags) & RAWFORK_CLONE_NEWUSER);
}

static void start_by_vfork(struct start *s)
{
	char stack[VFORK_STACK] __attribute__((aligned(16)));
	int dumpable = changes_ids(s->image.plan) ? prctl(PR_GET_DUMPABLE) : 0;
	uint64_t old;
	long pid;

	if (parent_writes_maps(s->image.plan)) {
		fail(s, RAWFORK_STEP_SYNC, EINVAL);
		return;
	}
	old = block_signals(s);
	pid = vfork_on_stack(s, stack, sizeof(stack));
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1L);
	set_mask(old, NULL);
	if (pid < 0) {
		fail(s, RAWFORK_STEP_CLONE, -pid);
		return;
	}
	s->started->pid = pid;
	if (s->started->failure.step)
		fail_child(s, s->started->failure);
}

/* take_plan checks and links: 0, or a failure. */
static int take_plan(struct start *s, void *plan, size_t size)
{
	/* The helper has nothing open for writing but what the plan wants. */
	s->way.close_early = s->birth == NULL;
	memset(s->started, 0, sizeof(*s->started));
	s->started->pid = s->started->pidfd = -1;
	if (rawfork_plan_check(plan, size) != 0) {
		fail(s, RAWFORK_STEP_PLAN, EINVAL);
		return -1;
	}
	rawfork_plan_link(plan, &s->image);
	return 0;
}

void rawfork_start(void *plan, size_t size, int method, struct rawfork_started *started)
{
	struct start s = { .started = started, .report = { -1, -1 }, .sync = { -1, -1 } };

	if (take_plan(&s, plan, size))
		return;
	if (method == RAWFORK_FORK)
		start_by_fork(&s);
	else if (method == RAWFORK_VFORK)
		start_by_vfork(&s);
	else
		rawfork_spawn(&s.image, started);
}

void rawfork_start_for_parent(void *plan, size_t size, struct rawfork_birth *birth,
			      struct rawfork_started *started)
{
	struct start s = { .started = started, .birth = birth, .report = { -1, -1 }, .sync = { -1, -1 } };

	if (take_plan(&s, plan, size))
		return;
	if ((s.image.plan->flags & RAWFORK_PTRACE) || (s.image.plan->cloneflags & RAWFORK_CLONE_SHARED))
		fail(&s, RAWFORK_STEP_PLAN, EINVAL);
	else if (parent_writes_maps(s.image.plan))
		start_by_fork(&s);
	else
		start_by_vfork(&s);
}
