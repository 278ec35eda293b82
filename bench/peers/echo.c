//go:build linux

/*
 * echo.c - what examples/echoserver is measured against: the same server in C. It
 * forks a child for each connection, and the kernel reaps. Serves until a signal
 * ends it.
 */
#define _GNU_SOURCE /* for accept4 */
#include "echo.h"
#include "size.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

extern pid_t _Fork(void) __attribute__((weak));

/* serve is the child. */
static void serve(int conn)
{
	static char buffer[64 << 10];
	ssize_t n;

	setpgid(0, 0);
	while ((n = read(conn, buffer, sizeof buffer)) > 0)
		for (ssize_t done = 0, m; done < n; done += m)
			if ((m = write(conn, buffer + done, n - done)) < 0)
				_exit(1);
	_exit(0);
}

int echo(int listener, int bare)
{
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pid_t pid;

		if (conn < 0 && errno == EINTR)
			continue;
		if (conn < 0)
			return errno;
		pid = bare && _Fork != NULL ? _Fork() : fork();
		if (pid == 0) {
			close(listener);
			serve(conn);
		}
		if (pid < 0)
			perror("fork");
		touch();
		close(conn);
	}
}
