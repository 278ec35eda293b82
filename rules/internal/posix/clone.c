//go:build linux

#define _GNU_SOURCE
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define STACK 65536

/* What the maker and the new one use. */
struct made {
	int in, out;
	int value;        /* the maker's; what the new one writes is seen or not */
	char *page;       /* the maker's; unmapped by the new one */
	_Atomic(int) tid; /* set and cleared by the kernel for a thread */
	pid_t maker, above;
	struct told *told;
};

/* What the new one tells, in memory that all share. */
struct told {
	pid_t pid, tid, parent;
	atomic_int ending;
};

/*
 * does runs on a stack of its own, and may have the maker's thread-local memory beside
 * the maker, who waits: of libc it uses only what makes one system call.
 */
static int does(void *arg)
{
	struct made *m = arg;
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t one;
	char byte = 'b';

	write(m->out, &byte, 1);
	read(m->in, &byte, 1);
	m->told->pid = getpid();
	m->told->tid = syscall(SYS_gettid);
	m->told->parent = getppid();
	m->value = 2;
	munmap(m->page, PAGE);
	sigaction(SIGUSR1, &ignore, NULL);
	sigfillset(&one);
	sigdelset(&one, SIGUSR2);
	sigprocmask(SIG_SETMASK, &one, NULL);
	atomic_store(&m->told->ending, 1);
	return 0;
}

/* await waits until the new one has ended, and returns the errno of a wait for it. */
static int await(struct made *m, pid_t pid, unsigned long flags)
{
	int tid;

	if (flags & CLONE_THREAD) {
		while ((tid = atomic_load(&m->tid)) != 0)
			syscall(SYS_futex, &m->tid, FUTEX_WAIT, tid, NULL, NULL, 0);
		return waitpid(-1, NULL, __WALL | WNOHANG) < 0 ? errno : 0;
	}
	while (waitpid(pid, NULL, __WALL) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

/* make calls clone and looks at what came of it. Returns 0 or a negative errno. */
static int make(unsigned long flags, int in, int out, struct posix_cloned *seen)
{
	const int prot = PROT_READ | PROT_WRITE, private = MAP_PRIVATE | MAP_ANONYMOUS;
	struct made m = { .in = in, .out = out, .value = 1, .tid = -1, .maker = getpid(), .above = getppid() };
	struct sigaction usr1 = { .sa_handler = SIG_DFL };
	char *stack = mmap(NULL, STACK, prot, private, -1, 0);
	sigset_t mask;
	pid_t pid;

	if (flags & CLONE_THREAD)
		flags |= CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	m.page = mmap(NULL, PAGE, prot, private, -1, 0);
	m.told = mmap(NULL, sizeof(*m.told), prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED || m.page == MAP_FAILED || m.told == MAP_FAILED)
		return -errno;
	*m.page = 1;
	if (sigaction(SIGUSR1, &usr1, NULL) < 0)
		return -errno;
	pid = clone(does, stack + STACK, (int)flags, &m, &m.tid, NULL, &m.tid);
	if (pid < 0)
		return -errno;
	seen->held = atomic_load(&m.told->ending);
	seen->wait = await(&m, pid, flags);
	seen->cleared = atomic_load(&m.tid) == 0;
	seen->memory = m.value == 2;
	/* Advice on what isn't mapped is ENOMEM. */
	seen->mapping = madvise(m.page, PAGE, MADV_NORMAL) == 0;
	if (sigaction(SIGUSR1, NULL, &usr1) < 0 || sigprocmask(SIG_SETMASK, NULL, &mask) < 0)
		return -errno;
	seen->handler = usr1.sa_handler == SIG_IGN;
	seen->mask = !sigismember(&mask, SIGUSR2);
	seen->same_pid = m.told->pid == m.maker;
	seen->same_tid = m.told->tid == (pid_t)syscall(SYS_gettid);
	seen->parent = m.told->parent == m.maker ? 1 : m.told->parent == m.above ? 2 : 0;
	return 0;
}

/* keep closes all descriptors but 0 and 1, to which it moves in and out. */
static int keep(int *in, int *out)
{
	int high_in = fcntl(*in, F_DUPFD, 2), high_out = fcntl(*out, F_DUPFD, 2);

	if (high_in < 0 || high_out < 0 || dup2(high_in, 0) < 0 || dup2(high_out, 1) < 0)
		return -errno;
	*in = 0;
	*out = 1;
	return syscall(SYS_close_range, 2, ~0u, 0) < 0 ? -errno : 0;
}

int posix_clone(unsigned long flags, int in, int out)
{
	struct posix_cloned seen = { 0 };
	sigset_t all, before;
	pid_t pid;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		err = keep(&in, &out);
		if (!err)
			err = make(flags, in, out, &seen);
		if (!err && write(out, &seen, sizeof(seen)) != sizeof(seen))
			err = -EIO;
		_exit(-err);
	}
	err = pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err ? err : pid;
}
