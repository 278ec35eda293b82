//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
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

static int set_attributes(const struct rawfork_image *im, posix_spawnattr_t *attributes)
{
	short flags = 0;
	int error = 0;

	if (im->plan->flags & RAWFORK_SETSID)
		flags |= POSIX_SPAWN_SETSID;
	if (im->plan->flags & RAWFORK_SETPGID) {
		flags |= POSIX_SPAWN_SETPGROUP;
		error = posix_spawnattr_setpgroup(attributes, im->plan->pgid);
	}
	return error ? error : posix_spawnattr_setflags(attributes, flags);
}

void rawfork_spawn(const struct rawfork_image *im, struct rawfork_started *started)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid = -1;
	int error;

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
