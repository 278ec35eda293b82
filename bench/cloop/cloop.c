//go:build linux

#include "cloop.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int loop(int n, long long *called, long long *waited)
{
	for (int i = 0; i < n; i++) {
		long long start = now();
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0)
			return errno;
		if (called != NULL)
			called[i] = now() - start;
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				return errno;
		if (waited != NULL)
			waited[i] = now() - start;
	}
	return 0;
}

int cloop_fork(int n, long long *ns)
{
	return loop(n, NULL, ns);
}

int cloop_call(int n, long long *ns)
{
	return loop(n, ns, NULL);
}

/* await reaps pid and returns 0 or an errno. */
static int await(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : ECANCELED;
}

static int start(const char *path, enum cloop_way way, pid_t *pid)
{
	char *argv[] = { (char *)"program", NULL }, *envp[] = { NULL };

	if (way == CLOOP_SPAWN)
		return posix_spawn(pid, path, NULL, NULL, argv, envp);
	*pid = way == CLOOP_VFORK ? vfork() : fork();
	if (*pid == 0) {
		execve(path, argv, envp);
		_exit(127);
	}
	return *pid < 0 ? errno : 0;
}

int cloop_exec(const char *path, enum cloop_way way, int n, long long *ns)
{
	for (int i = 0; i < n; i++) {
		long long began = now();
		pid_t pid;
		int error = start(path, way, &pid);

		if (!error)
			error = await(pid);
		if (error)
			return error;
		ns[i] = now() - began;
	}
	return 0;
}
