/*
 * main.c - the echo server in C as a program of its own. Prints its
 * address. Takes the options of size.h.
 */
#include "../echo.h"
#include "../size.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	size(argc, argv);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0) {
		perror("listen");
		return 1;
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	fprintf(stderr, "accept: %s\n", strerror(echo(listener, 0)));
	return 1;
}
