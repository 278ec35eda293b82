/*
 * main.c - the round trip of package helper with nothing else to it: for each byte that
 * comes over the socket 3 it starts the program argv[1], by vfork, as a child of its own
 * parent, and answers with the pid, or less than 0 for an errno. It ends with the socket.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

static int error; /* the child's, which has this memory */

static int run(void *path)
{
	char *argv[] = { path, NULL }, *none[] = { NULL };

	execve(path, argv, none);
	error = errno;
	_exit(127);
}

int main(int argc, char **argv)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	char byte;

	if (argc < 2)
		return 2;
	while (recv(3, &byte, 1, 0) == 1) {
		int32_t pid;

		error = 0;
		pid = clone(run, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PARENT, argv[1]);
		if (pid < 0 || error)
			pid = -(pid < 0 ? errno : error);
		if (send(3, &pid, sizeof pid, MSG_NOSIGNAL) < 0)
			break;
	}
	return 0;
}
