//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* add_files has the child put its descriptors in place in the same two passes as
 * the executor's set_files. Numbers for the moved ones are chosen here: above all
 * that the plan names. posix_spawn's dup2 leaves them open, so they are closed. */
static int add_files(const struct rawfork_image *im, posix_spawn_file_actions_t *actions)
{
	int n = im->plan->nfiles, next = n < 3 ? 3 : n, first, i, error = 0;

	for (i = 0; i < n; i++)
		if (im->files[i] >= next)
			next = im->files[i] + 1;
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
 * glibc has the program ignore the signals that libc keeps for itself. They have no names and sigaddset refuses them, so their
 * bits are set by hand: a signal set begins with the bits of signals 1 to 64.
 */
static int default_libc_signals(posix_spawnattr_t *attributes)
{
	sigset_t set;
	uint64_t bits = 0;
	long action[4]; /* the kernel's: handler, flags, restorer, mask */
	int sig;

	for (sig = 32; sig <= 34; sig++) {
		if (syscall(SYS_rt_sigaction, sig, NULL, action, 8L) == 0
		    && action[0] != (long)SIG_IGN)
			bits |= 1ull << (sig - 1);
	}
	sigemptyset(&set);
	memcpy(&set, &bits, sizeof(bits));
	return bits != 0 && posix_spawnattr_setsigdefault(attributes, &set) == 0;
}

static int set_attributes(const struct rawfork_image *im, posix_spawnattr_t *attributes)
{
	short flags = 0;
	int error = 0;

	if (default_libc_signals(attributes))
		flags |= POSIX_SPAWN_SETSIGDEF;
	if (im->plan->flags & RAWFORK_SETSID)
		flags |= POSIX_SPAWN_SETSID;
	if (im->plan->flags & RAWFORK_SETPGID) {
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
