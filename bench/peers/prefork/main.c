/*
 * prefork.c - what serve.Pool is measured against: children forked ahead that echo. They
 * accept from one listener or, with a second argument, take what the parent accepts and
 * hands over. Prints its address; serves until a signal ends it.
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

/* The descriptor of a message, which has a byte of data. */
union rights {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* take is the child's side of hand_over: it returns a connection, or -1. */
static int take(int channel)
{
	char byte;
	union rights rights;
	struct iovec vec = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &vec, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
	struct cmsghdr *header;

	if (recvmsg(channel, &msg, MSG_CMSG_CLOEXEC) <= 0 || (header = CMSG_FIRSTHDR(&msg)) == NULL)
		return -1;
	return *(int *)CMSG_DATA(header);
}

/* hand_over accepts for ever, and sends what it accepts to the children. */
static void hand_over(int listener, int channel)
{
	for (;;) {
		char byte = 0;
		union rights rights;
		struct iovec vec = { &byte, 1 };
		struct msghdr msg = { .msg_iov = &vec, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
		struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
		int conn = accept(listener, NULL, NULL);

		if (conn < 0)
			continue;
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof conn);
		*(int *)CMSG_DATA(header) = conn;
		if (sendmsg(channel, &msg, 0) < 0)
			fail("sendmsg");
		close(conn);
	}
}

/* serve is a child. */
static void serve(int listener, int channel)
{
	static char buffer[64 << 10];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int conn = channel < 0 ? accept(listener, NULL, NULL) : take(channel);
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
	int channel[2] = { -1, -1 };

	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
		fail("listen");
	if (argc > 2 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		fail("socketpair");
	while (children-- > 0) {
		pid_t pid = fork();

		if (pid == 0)
			serve(listener, channel[1]);
		if (pid < 0)
			fail("fork");
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	if (channel[0] >= 0)
		hand_over(listener, channel[0]);
	while (wait(NULL) > 0)
		;
}
