/*
 * prefork.c - what serve.Pool is measured against: children forked ahead that accept
 * from one listener and echo. Prints its address; serves until a signal ends it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* serve is a child. */
static void serve(int listener)
{
	static char buffer[64 << 10];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int conn = accept(listener, NULL, NULL);
		ssize_t n;

		if (conn < 0)
			continue;
		while ((n = read(conn, buffer, sizeof buffer)) > 0)
			for (ssize_t done = 0, m; done < n; done += m)
				if ((m = write(conn, buffer + done, n - done)) < 0)
					break;
		close(conn);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int children = argc > 1 ? atoi(argv[1]) : 4;

	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
		fail("listen");
	while (children-- > 0) {
		pid_t pid = fork();

		if (pid == 0)
			serve(listener);
		if (pid < 0)
			fail("fork");
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	while (wait(NULL) > 0)
		;
}
