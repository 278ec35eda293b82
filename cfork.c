//go:build linux && (amd64 || arm64)

#include "cfork.h"

#include <errno.h>
#include <unistd.h>

/* POSIX.1-2024. glibc has it since 2.34, musl since 1.2.3. */
extern pid_t _Fork(void) __attribute__((weak));

int rawfork_fork(void *arg)
{
	pid_t pid;

	(void)arg;
	/*
	 * Not fork() where there is a choice: it waits for libc's own locks, and
	 * whoever holds one may be waiting for a goroutine that needs the P that
	 * our caller keeps.
	 */
	pid = _Fork != NULL ? _Fork() : fork();
	/* errno is the thread's: it must be taken before Go runs on this thread. */
	return pid < 0 ? -errno : pid;
}
