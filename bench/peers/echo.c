/*
 * echo - the echo server that examples/echoserver is measured against: a child
 * for each connection, reaped on SIGCHLD. Prints its address and serves until
 * its standard input ends.
 */
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

static void reap(int sig)
{
	int kept = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = kept;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* serve is the child. */
static void serve(int conn)
{
	static char buffer[64 << 10];
	ssize_t n;

	while ((n = read(conn, buffer, sizeof buffer)) > 0)
		for (ssize_t done = 0, m; done < n; done += m)
			if ((m = write(conn, buffer + done, n - done)) < 0)
				_exit(1);
	_exit(0);
}

int main(void)
{
	struct sigaction action = { .sa_handler = reap, .sa_flags = SA_RESTART };
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd ready[2] = { { .fd = listener, .events = POLLIN }, { .fd = 0, .events = POLLIN } };

	sigaction(SIGCHLD, &action, NULL);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
		fail("listen");
	printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		int conn;
		pid_t pid;

		if (poll(ready, 2, -1) < 0)
			continue; /* EINTR */
		if (ready[1].revents)
			return 0;
		conn = accept(listener, NULL, NULL);
		if (conn < 0)
			continue;
		pid = fork();
		if (pid == 0) {
			close(listener);
			serve(conn);
		}
		if (pid < 0)
			perror("fork");
		close(conn);
	}
}
