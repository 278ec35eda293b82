//go:build linux

#include "plainfork.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int plain_fork(int sink)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		dup2(sink, 1);
		dup2(sink, 2);
	}
	return pid < 0 ? -errno : pid;
}
