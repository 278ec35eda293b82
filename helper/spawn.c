//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "spawn.h"

#include "server.h"
#include "title.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <unistd.h>

static sigset_t program_mask; /* as the helper was started with */
static rlim_t program_nofile; /* the soft limit, likewise */
static void *tid_address;     /* what the kernel clears when the thread ends */
static pid_t *cached_tid;     /* where libc keeps this thread's id, if elsewhere */
static volatile int32_t *made; /* where the parent sees the last child of fork_for_parent */

static enum rf_role role;
static struct rf_message task; /* of an RF_CHILD */
static int ready_sock = -1;    /* of an RF_READY_CHILD */

/*
 * glibc has the kernel clear the cached id itself; musl a lock of its own, and an id
 * written there would lock it for ever. musl's id is in the first words of what
 * pthread_self points to.
 */
static pid_t *find_cached_tid(void)
{
	pid_t *words = (pid_t *)pthread_self(), tid = syscall(SYS_gettid);

	if (*(pid_t *)tid_address == tid)
		return NULL;
	for (int i = 0; i < 32; i++)
		if (words[i] == tid)
			return &words[i];
	return NULL;
}

#define NOFILE_WANTED 65536

/*
 * A descriptor for each waiting child, and for each that ends with the parent, are
 * soon more than the usual soft limit, which package syscall gives to the helper as to
 * any program. Bounded, as old kernels have no close_range: there each number that
 * the limit allows is closed.
 */
static int raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	program_nofile = limit.rlim_cur;
	if (limit.rlim_cur >= NOFILE_WANTED)
		return 0;
	limit.rlim_cur = limit.rlim_max < NOFILE_WANTED ? limit.rlim_max : NOFILE_WANTED;
	return setrlimit(RLIMIT_NOFILE, &limit) ? -errno : 0;
}

/* The soft limit only: the hard one was not touched, and may be another's doing now. */
static void put_back_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur <= program_nofile)
		return;
	limit.rlim_cur = program_nofile;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int rf_spawn_prepare(volatile struct rf_born *born)
{
	sigset_t all;
	int error = raise_nofile();

	made = &born->made;
	if (error)
		return error;

	/* All that a terminal or kill(1) sends to the group must leave the helper
	 * alone: its parent decides when it ends. Blocked, not ignored: that a child
	 * can put back without knowing what was ignored before. */
	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, &program_mask))
		return -errno;
	if (prctl(PR_GET_TID_ADDRESS, &tid_address))
		return -errno;
	cached_tid = find_cached_tid();
	rf_title_set(RF_TITLE);
	return 0;
}

/*
 * fork(2) with CLONE_PARENT, which libc's fork() doesn't know. The process has
 * one thread, so no lock of libc's is held by another; the cached thread id is put
 * right as libc's fork() does it.
 */
static pid_t fork_for_parent(void)
{
	int by_kernel = *(pid_t *)tid_address == syscall(SYS_gettid);
	unsigned long flags = CLONE_PARENT | CLONE_PARENT_SETTID;
	long pid;

	if (by_kernel)
		flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
#if defined(__x86_64__)
	pid = syscall(SYS_clone, flags, 0, made, tid_address, 0);
#else
	pid = syscall(SYS_clone, flags, 0, made, 0, tid_address);
#endif
	if (pid == 0 && !by_kernel) {
		pid_t tid = syscall(SYS_set_tid_address, tid_address);

		if (cached_tid)
			*cached_tid = tid;
	}
	return pid < 0 ? -errno : pid;
}

/* Puts the child into the state in which the program starts, with these descriptors. */
static void become_program(const int *fds, uint32_t n)
{
	rf_keep_only(fds, n); /* under the helper's limit: what is above the program's, too */
	put_back_nofile();
	rf_title_restore();
	sigprocmask(SIG_SETMASK, &program_mask, NULL);
}

/* close_range(2), also where the kernel is older than it. */
static void close_between(unsigned first, unsigned last)
{
	long open_max;

	if (!syscall(SYS_close_range, first, last, 0) || errno != ENOSYS)
		return;
	open_max = sysconf(_SC_OPEN_MAX);
	for (unsigned fd = first; fd <= last && (long)fd < open_max; fd++)
		close(fd);
}

void rf_keep_only(const int *fds, uint32_t n)
{
	unsigned first = 3;

	for (;;) {
		unsigned next = ~0u;

		for (uint32_t i = 0; i < n; i++)
			if ((unsigned)fds[i] >= first && (unsigned)fds[i] < next)
				next = fds[i];
		if (next > first)
			close_between(first, next == ~0u ? next : next - 1);
		if (next == ~0u)
			return;
		first = next + 1;
	}
}

pid_t rf_spawn_go(struct rf_message *m, int *go)
{
	int pipefd[2];
	pid_t pid;
	char byte;

	if (pipe2(pipefd, O_CLOEXEC))
		return -errno;
	pid = fork_for_parent();
	if (pid == 0) {
		close(pipefd[1]);
		if (read(pipefd[0], &byte, 1) != 1)
			_exit(0);
		become_program(m->fds, m->header.nfds);
		role = RF_CHILD;
		task = *m;
		return 0;
	}
	close(pipefd[0]);
	if (pid < 0)
		close(pipefd[1]);
	*go = pipefd[1];
	return pid;
}

void rf_spawn_release(int go)
{
	/* A child that was killed meanwhile gives EPIPE, which is as well; SIGPIPE is
	 * blocked here. */
	ssize_t ignored = write(go, "", 1);

	(void)ignored;
	close(go);
}

int rf_spawn_ready(struct rf_waiting *w)
{
	/* A child that somebody has stopped doesn't read: a task that is larger than
	 * the socket's buffer would keep the helper waiting. */
	static const struct timeval limit = { .tv_sec = 1 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	w->pid = fork_for_parent();
	if (w->pid == 0) {
		become_program(&pair[1], 1);
		role = RF_READY_CHILD;
		ready_sock = pair[1];
		return 1;
	}
	close(pair[1]);
	if (w->pid < 0) {
		close(pair[0]);
		return w->pid;
	}
	w->sock = pair[0];
	w->booted = 0;
	return 0;
}

enum rf_role rf_role(void)
{
	return role;
}

/* The last descriptor may be the working directory. */
static int enter_directory(struct rf_message *m)
{
	struct rf_go go;
	int fd, error;

	memcpy(&go, m->body, sizeof go);
	if (!(go.flags & RF_GO_DIR))
		return 0;
	fd = m->fds[--m->header.nfds];
	error = fchdir(fd) ? -errno : 0;
	close(fd);
	return error;
}

int rf_task(struct rf_message *m)
{
	struct rf_header booted = { RF_MAGIC, RF_VERSION, RF_BOOTED, 0, 0, 0 };
	int r, error;

	if (role == RF_CHILD) {
		*m = task;
	} else {
		error = rf_send(ready_sock, &booted, NULL, NULL);
		if (error)
			return error == -EPIPE ? 0 : error;
		r = rf_receive(ready_sock, m);
		if (r <= 0)
			return r;
		close(ready_sock);
	}
	error = enter_directory(m);
	return error ? error : 1;
}
