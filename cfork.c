//go:build linux && (amd64 || arm64)

#include "cfork.h"

#include <errno.h>
#include <unistd.h>

int rawfork_fork(void *arg)
{
	pid_t pid;

	(void)arg;
	pid = fork();
	/* errno is the thread's: it must be taken before Go runs on this thread. */
	return pid < 0 ? -errno : pid;
}
