//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "server.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void refuse(const char *why)
{
	dprintf(2, "rawfork helper: %s is set, but not by a program that starts its helper: %s\n",
		RF_MARK, why);
	_exit(2);
}

/*
 * Takes the mark out of the environment, so that nothing that is started later
 * finds it, and blots it out in /proc/self/environ. In place: the Go runtime reads
 * the array that the kernel made, not what setenv(3) may make of it.
 */
static int take_mark(char *mark, size_t size)
{
	char **to = environ;
	int found = 0;

	for (char **from = environ; from && *from; from++) {
		if (strncmp(*from, RF_MARK "=", sizeof RF_MARK)) {
			*to++ = *from;
			continue;
		}
		snprintf(mark, size, "%s", *from + sizeof RF_MARK);
		memset(*from, 0, strlen(*from));
		found = 1;
	}
	if (found)
		*to = NULL;
	return found;
}

/* <descriptor>:<nonce>, and nothing else. */
static int parse_mark(const char *mark, int *sock, uint8_t nonce[RF_NONCE])
{
	unsigned byte;
	int end = 0;

	if (sscanf(mark, "%9d:%n", sock, &end) != 1 || !end || *sock < 3)
		return 0;
	mark += end;
	if (strlen(mark) != 2 * RF_NONCE || strspn(mark, "0123456789abcdef") != 2 * RF_NONCE)
		return 0;
	for (unsigned i = 0; i < RF_NONCE; i++) {
		if (sscanf(mark + 2 * i, "%2x", &byte) != 1)
			return 0;
		nonce[i] = byte;
	}
	return 1;
}

/*
 * The socket must have been made by this process's own parent, with this
 * process's own user. Whoever passes that test could run the program's code
 * without it.
 */
static void check_socket(int sock, int *parent_pidfd)
{
	struct ucred peer;
	int domain, type;
	socklen_t n = sizeof domain;

	if (getauxval(AT_SECURE))
		refuse("the program has more rights than who started it");
	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &n) || domain != AF_UNIX)
		refuse("the descriptor in it is no Unix socket");
	n = sizeof type;
	if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_SEQPACKET)
		refuse("the descriptor in it is no SOCK_SEQPACKET socket");
	n = sizeof peer;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &n) ||
	    peer.pid != getppid() || peer.uid != geteuid())
		refuse("its socket was not made by the parent");
	*parent_pidfd = syscall(SYS_pidfd_open, peer.pid, 0);
	if (getppid() != peer.pid)
		_exit(0); /* it has just ended */
}

/* 0, 1 and 2 are open in every child: where the parent had none, /dev/null. */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

/* Maps what came with the greeting. No child of fork has it. Returns 0 or -errno. */
static int map_born(int fd, volatile struct rf_born **born)
{
	void *memory = mmap(NULL, sizeof **born, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED || madvise(memory, sizeof **born, MADV_DONTFORK))
		return -errno;
	*born = memory;
	return 0;
}

/* Becomes the helper if this start of the program is to be one. */
__attribute__((constructor)) static void start(void)
{
	char mark[64];
	uint8_t nonce[RF_NONCE];
	struct rf_message m;
	struct rf_hello hello;
	volatile struct rf_born *born = NULL;
	int sock, starts, pidfd, error;

	if (!take_mark(mark, sizeof mark))
		return;
	if (!parse_mark(mark, &sock, nonce))
		refuse("it is malformed");
	open_standard(); /* first, so that nothing else gets these numbers */
	check_socket(sock, &pidfd);
	if (rf_receive(sock, &m) <= 0 || m.header.type != RF_HELLO ||
	    m.header.length != sizeof hello || m.header.nfds != 2)
		refuse("no greeting came over its socket");
	memcpy(&hello, m.body, sizeof hello);
	if (memcmp(hello.nonce, nonce, sizeof nonce))
		refuse("the greeting over its socket doesn't match");
	error = map_born(m.fds[0], &born);
	starts = m.fds[1];
	m.header.nfds = 1;
	rf_message_free(&m);
	rf_keep_only((int[]){ sock, starts, pidfd }, pidfd < 0 ? 2 : 3);
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	if (!error)
		error = rf_spawn_prepare(born);
	if (error) {
		struct rf_reply body = { -1, -error };
		struct rf_header h = { RF_MAGIC, RF_VERSION, RF_REPLY, m.header.id, sizeof body, 0 };

		rf_send(sock, &h, &body, NULL);
		_exit(1);
	}
	rf_helper_main(sock, starts, pidfd, born, m.header.id, hello.ready);
}
