/*
 * main.c - what serve.Server is measured against: a server of the same shape in C. It
 * forks a child for each connection, has a limit on them, reaps them by SIGCHLD and
 * counts how they ended. Prints its address; serves until a signal ends it. Takes the
 * options of size.h.
 */
#define _GNU_SOURCE /* for accept4 and ppoll */
#include "../size.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_CHILDREN = 200 };

/* Only touched with SIGCHLD blocked, or by its handler. */
static int active, exited[256], killed[128];

static void reap(int sig)
{
	int saved = errno, status;

	(void)sig;
	while (waitpid(-1, &status, WNOHANG) > 0) {
		active--;
		if (WIFEXITED(status))
			exited[WEXITSTATUS(status)]++;
		else
			killed[WTERMSIG(status)]++;
	}
	errno = saved;
}

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

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sigaction action = { .sa_handler = reap };
	sigset_t blocked, waiting;

	size(argc, argv);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0) {
		perror("listen");
		return 1;
	}
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaction(SIGCHLD, &action, NULL);
	sigprocmask(SIG_BLOCK, &blocked, &waiting);
	printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		struct pollfd poll = { .fd = listener, .events = POLLIN };
		int conn;
		pid_t pid;

		if (active >= MAX_CHILDREN) {
			sigsuspend(&waiting);
			continue;
		}
		if (ppoll(&poll, 1, NULL, &waiting) < 0)
			continue; /* a child has ended */
		conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (conn < 0)
			continue;
		pid = fork();
		if (pid == 0) {
			signal(SIGCHLD, SIG_DFL);
			sigprocmask(SIG_SETMASK, &waiting, NULL);
			close(listener);
			serve(conn);
		}
		if (pid < 0)
			perror("fork");
		else
			active++;
		touch();
		close(conn);
	}
}
