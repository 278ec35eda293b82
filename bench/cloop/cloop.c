//go:build linux

#include "cloop.h"

#include <errno.h>
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
