//go:build linux

#define _GNU_SOURCE
#include "cloop.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
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

/* With what BySpawn asks for, too: 0, 1 and 2 closed, and all signals at their default,
 * also libc's own, which have no names. */
static int spawn(const char *path, char **argv, char **envp, pid_t *pid)
{
	unsigned long all = ~0ul;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t set;
	int error = posix_spawn_file_actions_init(&actions);

	if (error)
		return error;
	for (int fd = 0; fd < 3 && !error; fd++)
		error = posix_spawn_file_actions_addclose(&actions, fd);
	if (!error && !(error = posix_spawnattr_init(&attributes))) {
		sigemptyset(&set);
		memcpy(&set, &all, sizeof all);
		if (!(error = posix_spawnattr_setsigdefault(&attributes, &set)) &&
		    !(error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF)))
			error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int start(const char *path, enum cloop_way way, pid_t *pid)
{
	char *argv[] = { (char *)"program", NULL }, *envp[] = { NULL };

	if (way == CLOOP_SPAWN)
		return spawn(path, argv, envp, pid);
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

int cloop_ask(int sock, int n, long long *ns)
{
	for (int i = 0; i < n; i++) {
		long long began = now();
		int32_t pid = 0;
		int error;

		if (send(sock, "", 1, MSG_NOSIGNAL) < 0 || recv(sock, &pid, sizeof pid, 0) < 0)
			return errno;
		error = pid > 0 ? await(pid) : pid < 0 ? -pid : EPIPE;
		if (error)
			return error;
		ns[i] = now() - began;
	}
	return 0;
}
