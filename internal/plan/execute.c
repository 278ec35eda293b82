//go:build linux && (amd64 || arm64)

/*
 * The child's way to execve(2). The order and the meaning of the steps are those
 * of forkAndExecInChild1 in Go's syscall/exec_linux.go, so that a program can't
 * tell who started it.
 *
 * Raw system calls only. libc's setuid and friends would signal threads that the
 * child hasn't got, its sigaction refuses signals 32 and 33, and in the child of
 * vfork all of libc's memory is the parent's. errno is too: the parent takes its
 * own before the child can run.
 */

#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* From linux/capability.h, which musl's headers come without. */
#define CAPABILITY_VERSION_3 0x20080522
struct cap_header {
	uint32_t version;
	int32_t pid;
};
struct cap_data {
	uint32_t effective, permitted, inheritable;
};

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#endif

#define CLONE_NEWNS_FLAG 0x00020000ull
#define KERNEL_SIGSET_SIZE 8

/* The kernel's struct sigaction, not libc's. */
struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

/* Each group of steps returns RAWFORK_NO_STEP, or the step that failed and
 * leaves its errno. */
#define TRY(step, call)                              \
	do {                                         \
		if ((call) < 0)                      \
			return RAWFORK_STEP_##step; \
	} while (0)

static int has(const struct rawfork_image *im, uint32_t flag)
{
	return (im->plan->flags & flag) != 0;
}

static int set_session(const struct rawfork_image *im)
{
	int32_t pgrp = im->plan->pgid;

	if (has(im, RAWFORK_SETSID))
		TRY(SETSID, syscall(SYS_setsid));
	if (has(im, RAWFORK_SETPGID | RAWFORK_FOREGROUND))
		TRY(SETPGID, syscall(SYS_setpgid, 0, im->plan->pgid));
	if (has(im, RAWFORK_FOREGROUND)) {
		if (pgrp == 0)
			pgrp = syscall(SYS_getpid);
		TRY(TCSETPGRP, syscall(SYS_ioctl, im->fds[im->plan->ctty], TIOCSPGRP, &pgrp));
	}
	return RAWFORK_NO_STEP;
}

/* Signals are still blocked in set_session: TIOCSPGRP from the background would
 * stop the child by SIGTTOU. They must have their default actions before they
 * are let in: a handler would run the parent's code. */
static void set_signals(uint64_t mask, int reset)
{
	struct kernel_sigaction sa;
	int sig;

	for (sig = 1; reset && sig <= 64; sig++) {
		if (syscall(SYS_rt_sigaction, sig, NULL, &sa, KERNEL_SIGSET_SIZE) != 0)
			continue;
		if (sa.handler == (void *)SIG_DFL || sa.handler == (void *)SIG_IGN)
			continue;
		memset(&sa, 0, sizeof(sa));
		syscall(SYS_rt_sigaction, sig, &sa, NULL, KERNEL_SIGSET_SIZE);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, KERNEL_SIGSET_SIZE);
}

static int write_file(const char *path, const char *text)
{
	size_t n = strlen(text);
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
	ssize_t written;
	int error;

	if (fd < 0)
		return -1;
	written = syscall(SYS_write, fd, text, n);
	error = errno;
	syscall(SYS_close, fd);
	errno = error;
	return written < 0 ? -1 : 0;
}

/* proc_path puts "/proc/PID/name" together; PID 0 is "self". */
static void proc_path(char path[64], int pid, const char *name)
{
	char digits[16], *d = digits + sizeof(digits);

	*--d = 0;
	if (pid == 0)
		d = "self";
	else
		for (; pid > 0; pid /= 10)
			*--d = '0' + pid % 10;
	strcpy(path, "/proc/");
	strcat(path, d);
	strcat(path, name);
}

/* Writing to its own process, Go writes the gid map first; to another, the uid
 * map: it tells in which of two errors is seen. */
static int write_uid_map(const struct rawfork_image *im, int pid)
{
	char path[64];

	if (has(im, RAWFORK_UID_MAP)) {
		proc_path(path, pid, "/uid_map");
		TRY(UID_MAP, write_file(path, im->uid_map));
	}
	return RAWFORK_NO_STEP;
}

static int write_gid_map(const struct rawfork_image *im, int pid)
{
	char path[64];

	if (has(im, RAWFORK_GID_MAP)) {
		proc_path(path, pid, "/setgroups");
		TRY(SETGROUPS_FILE, write_file(path, has(im, RAWFORK_ALLOW_SETGROUPS) ? "allow" : "deny"));
		proc_path(path, pid, "/gid_map");
		TRY(GID_MAP, write_file(path, im->gid_map));
	}
	return RAWFORK_NO_STEP;
}

struct rawfork_failure rawfork_write_maps(const struct rawfork_image *im, int pid)
{
	struct rawfork_failure f = { 0, 0 };

	if (pid == 0) {
		f.step = write_gid_map(im, pid);
		if (!f.step)
			f.step = write_uid_map(im, pid);
	} else {
		f.step = write_uid_map(im, pid);
		if (!f.step)
			f.step = write_gid_map(im, pid);
	}
	if (f.step)
		f.error = errno;
	return f;
}

static int unshare_namespaces(const struct rawfork_image *im)
{
	uint64_t flags = im->plan->unshareflags;

	if (flags == 0)
		return RAWFORK_NO_STEP;
	TRY(UNSHARE, syscall(SYS_unshare, flags));
	if (flags & RAWFORK_CLONE_NEWUSER) {
		struct rawfork_failure f = rawfork_write_maps(im, 0);

		if (f.step)
			return f.step;
	}
	/* A mount namespace that still gets and sends mounts is not what was asked
	 * for, and / is shared on most systems. */
	if (flags & CLONE_NEWNS_FLAG)
		TRY(PRIVATE, syscall(SYS_mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	return RAWFORK_NO_STEP;
}

static int set_credential(const struct rawfork_image *im)
{
	if (im->chroot[0])
		TRY(CHROOT, syscall(SYS_chroot, im->chroot));
	if (has(im, RAWFORK_SETGROUPS))
		TRY(SETGROUPS, syscall(SYS_setgroups, im->plan->ngroups, im->groups));
	if (has(im, RAWFORK_CREDENTIAL)) {
		TRY(SETGID, syscall(SYS_setgid, im->plan->gid));
		TRY(SETUID, syscall(SYS_setuid, im->plan->uid));
	}
	return RAWFORK_NO_STEP;
}

static int raise_ambient(const struct rawfork_image *im)
{
	struct cap_header header = { CAPABILITY_VERSION_3, 0 };
	struct cap_data data[2];
	uint32_t i, c;

	if (im->plan->ncaps == 0)
		return RAWFORK_NO_STEP;
	TRY(CAPGET, syscall(SYS_capget, &header, data));
	for (i = 0; i < im->plan->ncaps; i++) {
		/* Only what is permitted and inheritable can be ambient. */
		c = im->caps[i];
		data[c / 32].permitted |= 1u << (c % 32);
		data[c / 32].inheritable |= 1u << (c % 32);
	}
	TRY(CAPSET, syscall(SYS_capset, &header, data));
	for (i = 0; i < im->plan->ncaps; i++)
		TRY(AMBIENT, syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (long)im->caps[i], 0L, 0L));
	return RAWFORK_NO_STEP;
}

static int set_pdeathsig(const struct rawfork_image *im)
{
	if (im->plan->pdeathsig == 0)
		return RAWFORK_NO_STEP;
	TRY(PDEATHSIG, syscall(SYS_prctl, PR_SET_PDEATHSIG, (long)im->plan->pdeathsig, 0L, 0L, 0L));
	/* A parent that died before the prctl sends nothing. */
	if (syscall(SYS_getppid) != im->plan->ppid)
		TRY(PDEATHSIG, syscall(SYS_kill, syscall(SYS_getpid), im->plan->pdeathsig));
	return RAWFORK_NO_STEP;
}

/*
 * free_up moves *fd to a free descriptor from first on. Where RLIMIT_NOFILE leaves none,
 * fcntl says EINVAL or EMFILE: EBADF is what dup3 says, by which syscall.ForkExec moves.
 */
static int free_up(int32_t *fd, int first)
{
	int moved = syscall(SYS_fcntl, *fd, F_DUPFD_CLOEXEC, first);

	if (moved < 0) {
		if (errno == EINVAL || errno == EMFILE)
			errno = EBADF;
		return -1;
	}
	*fd = moved;
	return 0;
}

/*
 * First all that would be overwritten before it is used is moved out of the way,
 * then each descriptor is put where it belongs. That all are open is seen ahead:
 * a moved one could take the number of one that isn't.
 */
static int set_files(struct rawfork_image *im, const struct rawfork_way *way, int *report)
{
	int n = im->plan->nfiles, first = n < 3 ? 3 : n, i;

	for (i = 0; i < n; i++)
		if (im->files[i] >= 0)
			TRY(FILES, syscall(SYS_fcntl, im->files[i], F_GETFD));
	if (*report >= 0 && *report < first)
		TRY(FILES, free_up(report, first));
	for (i = 0; i < n; i++)
		if (im->files[i] >= 0 && im->files[i] < i)
			TRY(FILES, free_up(&im->files[i], first));
	if (way->nofile)
		TRY(INHERIT_LIMITS, syscall(SYS_prlimit64, 0L, (long)RLIMIT_NOFILE, way->nofile, NULL));
	for (i = 0; i < n; i++) {
		if (im->files[i] < 0)
			syscall(SYS_close, i);
		else if (im->files[i] == i) /* dup3 refuses, dup2 leaves close-on-exec */
			TRY(FILES, syscall(SYS_fcntl, i, F_SETFD, 0));
		else
			TRY(FILES, syscall(SYS_dup3, im->files[i], i, 0));
	}
	for (; i < 3; i++)
		syscall(SYS_close, i);
	return RAWFORK_NO_STEP;
}

/* is_closed_by_exec also for a number that isn't open: no. */
static int is_closed_by_exec(int fd)
{
	int flags = syscall(SYS_fcntl, fd, F_GETFD);

	return flags >= 0 && (flags & FD_CLOEXEC);
}

/* close_run closes first to last: by one call where the kernel has it. */
static void close_run(int first, int last)
{
	if (first == last || syscall(SYS_close_range, first, last, 0) != 0)
		for (; first <= last; first++)
			syscall(SYS_close, first);
}

/*
 * close_before_exec closes what execve would close, but for report. execve lets the
 * parent go on before it closes descriptors, and gives up the files even later, when
 * the program begins to run: until then a file that was open for writing in the
 * parent can't be executed by anybody (ETXTBSY).
 *
 * There is no way to ask for all that are close-on-exec, so each open one is asked.
 * Which are open, one poll tells; it asks for no event, so it touches nothing. That
 * is a system call for each descriptor, and so the number is bounded.
 */
static void close_before_exec(int report)
{
	struct pollfd set[RAWFORK_CLOSED_EARLY];
	struct timespec no_time = { 0, 0 };
	int known, first = -1, fd, closes;

	for (fd = 0; fd < RAWFORK_CLOSED_EARLY; fd++)
		set[fd] = (struct pollfd){ .fd = fd };
	/* EINVAL: more than RLIMIT_NOFILE allows. */
	known = syscall(SYS_ppoll, set, RAWFORK_CLOSED_EARLY, &no_time, NULL, KERNEL_SIGSET_SIZE) >= 0;
	for (fd = 0; fd < RAWFORK_CLOSED_EARLY; fd++) {
		if (known && (set[fd].revents & POLLNVAL))
			continue; /* not open: a run goes on behind it */
		closes = fd != report && is_closed_by_exec(fd);
		if (closes && first < 0)
			first = fd;
		if (!closes && first >= 0) {
			close_run(first, fd - 1);
			first = -1;
		}
	}
	if (first >= 0)
		close_run(first, RAWFORK_CLOSED_EARLY - 1);
}

static int set_terminal(const struct rawfork_image *im)
{
	if (has(im, RAWFORK_NOCTTY))
		TRY(NOCTTY, syscall(SYS_ioctl, 0, TIOCNOTTY, 0L));
	if (has(im, RAWFORK_SETCTTY))
		TRY(SETCTTY, syscall(SYS_ioctl, im->plan->ctty, TIOCSCTTY, 1L));
	return RAWFORK_NO_STEP;
}

/* Go raises the soft limit to one below the hard limit, which marks it as Go's
 * doing: a limit that the program or prlimit(1) set is left alone. */
static void restore_nofile(const struct rawfork_image *im)
{
	uint64_t old[2] = { im->plan->nofile_cur, im->plan->nofile_max }, now[2];

	if (!has(im, RAWFORK_NOFILE))
		return;
	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, now) != 0
	    || (now[0] == old[1] - 1 && now[1] == old[1]))
		syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, old, NULL);
}

static int execute(struct rawfork_image *im, const struct rawfork_way *way, int *report)
{
	int step;

	if (im->plan->ncaps > 0) /* setuid would drop what raise_ambient needs */
		TRY(KEEPCAPS, syscall(SYS_prctl, PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L));
	if ((step = set_session(im)))
		return step;
	set_signals(way->mask, way->reset);
	if ((step = unshare_namespaces(im)) || (step = set_credential(im)) || (step = raise_ambient(im)))
		return step;
	if (im->dir[0])
		TRY(CHDIR, syscall(SYS_chdir, im->dir));
	if ((step = set_pdeathsig(im)) || (step = set_files(im, way, report)) || (step = set_terminal(im)))
		return step;
	if (way->close_early)
		close_before_exec(*report);
	restore_nofile(im);
	if (has(im, RAWFORK_PTRACE)) /* last, so that nothing but the program is traced */
		TRY(PTRACE, syscall(SYS_ptrace, PTRACE_TRACEME, 0L, 0L, 0L));
	TRY(EXECVE, syscall(SYS_execve, im->path, im->argv, im->envp));
	return RAWFORK_NO_STEP;
}

struct rawfork_failure rawfork_execute(struct rawfork_image *image, const struct rawfork_way *way, int *report)
{
	struct rawfork_failure f;

	rawfork_plan_number(image);
	f.step = execute(image, way, report);
	f.error = errno;
	return f;
}
