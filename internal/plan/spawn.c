//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* add_files has the child put its descriptors in place in the same two passes as
 * the executor's set_files. Numbers for the moved ones are chosen here: above all
 * that the plan names. posix_spawn's dup2 leaves them open, so they are closed. */
static int add_files(const struct rawfork_image *im, posix_spawn_file_actions_t *actions)
{
	int n = im->plan->nfiles, next = n < 3 ? 3 : n, first, i, error = 0;

	for (i = 0; i < n; i++) {
		if (im->files[i] > INT_MAX - n) /* no process has it, and next must be an int */
			return EBADF;
		if (im->files[i] >= next)
			next = im->files[i] + 1;
	}
	first = next;
	for (i = 0; i < n && !error; i++) {
		if (im->files[i] >= 0 && im->files[i] < i) {
			error = posix_spawn_file_actions_adddup2(actions, im->files[i], next);
			im->files[i] = next++;
		}
	}
	for (i = 0; i < n && !error; i++) {
		if (im->files[i] < 0)
			error = posix_spawn_file_actions_addclose(actions, i);
		else /* also onto itself: that takes close-on-exec off */
			error = posix_spawn_file_actions_adddup2(actions, im->files[i], i);
	}
	for (; i < 3 && !error; i++)
		error = posix_spawn_file_actions_addclose(actions, i);
	for (; first < next && !error; first++)
		error = posix_spawn_file_actions_addclose(actions, first);
	return error;
}

/*
 * The signals that this process ignores, as a signal set's first bits. One file in /proc
 * says it, where a system call for each signal would take as long as a tenth of a start.
 */
static uint64_t ignored_signals(void)
{
	char text[4096], *line, *end;
	int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC), sig;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t ignored = 0;
	long action[4]; /* the kernel's: handler, flags, restorer, mask */

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = 0;
	line = strstr(text, "\nSigIgn:\t");
	if (line) {
		line += strlen("\nSigIgn:\t");
		ignored = strtoull(line, &end, 16);
		if (end == line + 16)
			return ignored;
	}
	for (ignored = 0, sig = 1; sig <= 64; sig++)
		if (syscall(SYS_rt_sigaction, sig, NULL, action, 8L) == 0 && action[0] == (long)SIG_IGN)
			ignored |= 1ull << (sig - 1);
	return ignored;
}

/*
 * The child of glibc's posix_spawn asks for the disposition of each signal, and then sets
 * to the default those that have a handler. For signals that it is told of it does the
 * second only, so it is told of all that aren't ignored. The ones that libc keeps for
 * itself it would have the program ignore; they have no names and sigaddset refuses them.
 */
static int set_default_signals(posix_spawnattr_t *attributes)
{
	uint64_t bits = ~ignored_signals();
	sigset_t set;

	sigemptyset(&set);
	memcpy(&set, &bits, sizeof(bits));
	return posix_spawnattr_setsigdefault(attributes, &set);
}

static int set_attributes(const struct rawfork_image *im, posix_spawnattr_t *attributes)
{
	short flags = POSIX_SPAWN_SETSIGDEF;
	int error = set_default_signals(attributes);

	if (im->plan->flags & RAWFORK_SETSID)
		flags |= POSIX_SPAWN_SETSID;
	if (!error && im->plan->flags & RAWFORK_SETPGID) {
		flags |= POSIX_SPAWN_SETPGROUP;
		error = posix_spawnattr_setpgroup(attributes, im->plan->pgid);
	}
	return error ? error : posix_spawnattr_setflags(attributes, flags);
}

void rawfork_spawn(struct rawfork_image *im, struct rawfork_started *started)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid = -1;
	int error;

	rawfork_plan_number(im);
	if ((error = posix_spawn_file_actions_init(&actions)) == 0) {
		if ((error = posix_spawnattr_init(&attributes)) == 0) {
			if (!(error = set_attributes(im, &attributes)) && im->dir[0])
				error = posix_spawn_file_actions_addchdir_np(&actions, im->dir);
			if (!error)
				error = add_files(im, &actions);
			if (!error)
				error = posix_spawn(&pid, im->path, &actions, &attributes, im->argv, im->envp);
			posix_spawnattr_destroy(&attributes);
		}
		posix_spawn_file_actions_destroy(&actions);
	}
	started->pid = error ? -1 : pid;
	if (error) {
		started->failure.step = RAWFORK_STEP_SPAWN;
		started->failure.error = error;
	}
}
