//go:build linux

#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* execute is the child of an exec. */
static void execute(const char *path, int stamp_fd)
{
	char *argv[] = { (char *)path, NULL };
	char *envp[] = { NULL };

	if (dup2(stamp_fd, 3) == 3)
		execve(path, argv, envp);
	_exit(127);
}

int floor_run(int how, const char *path, int stamp_fd, long long *stamp, struct floor_times *times)
{
	struct rusage usage;
	int status;
	pid_t pid;

	times->start = now();
	pid = how == FLOOR_VFORK_EXEC || how == FLOOR_VFORK_EXIT ? vfork() : fork();
	if (pid == 0) {
		if (how == FLOOR_FORK_EXEC || how == FLOOR_VFORK_EXEC)
			execute(path, stamp_fd);
		*stamp = now();
		_exit(0);
	}
	if (pid < 0)
		return errno;
	times->returned = now();
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return errno;
	times->ended = now();
	times->faults = usage.ru_minflt;
	times->switches = usage.ru_nvcsw + usage.ru_nivcsw;
	return status == 0 ? 0 : ENOEXEC;
}
