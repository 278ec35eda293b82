//go:build linux && (amd64 || arm64)

#define _GNU_SOURCE
#include "title.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static char name[16];  /* TASK_COMM_LEN */
static char *args;     /* the arguments' memory, as the kernel laid it out */
static size_t args_len;
static char *saved;    /* a copy of it */

/* Fields 48 and 49 of /proc/self/stat; musl's constructors get no argv. */
static int find_args(void)
{
	char text[1024], *field;
	unsigned long start, end;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	field = strrchr(text, ')'); /* the end of field 2, whatever is in it */
	for (int i = 2; field && i < 48; i++)
		field = strchr(field + 1, ' ');
	if (!field || sscanf(field, " %lu %lu", &start, &end) != 2 || !start || end <= start)
		return 0;
	args = (char *)start;
	args_len = end - start;
	return 1;
}

void rf_title_set(const char *title)
{
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, title);
	if (!find_args() || !(saved = malloc(args_len)))
		return;
	memcpy(saved, args, args_len);
	memset(args, 0, args_len);
	memcpy(args, title, strnlen(title, args_len - 1));
}

void rf_title_restore(void)
{
	prctl(PR_SET_NAME, name);
	if (saved)
		memcpy(args, saved, args_len);
}
