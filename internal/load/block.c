//go:build unix

#include "block.h"

#include <errno.h>
#include <unistd.h>

void load_block(int fd)
{
	char c;
	ssize_t n;

	do
		n = read(fd, &c, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
}
