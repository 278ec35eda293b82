//go:build linux

#include "ccall.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "_cgo_export.h"

extern pid_t _Fork(void) __attribute__((weak));

void ccall_here(uintptr_t handle)
{
	ccallGo(handle);
}

static void *thread(void *handle)
{
	ccall_here(*(uintptr_t *)handle);
	return NULL;
}

int ccall_thread(uintptr_t handle)
{
	pthread_t id;
	int err = pthread_create(&id, NULL, thread, &handle);

	return err != 0 ? err : pthread_join(id, NULL);
}

int ccall_flush(int fd)
{
	int own = dup(fd);
	FILE *stream = own < 0 ? NULL : fdopen(own, "w");

	if (stream == NULL)
		return errno;
	fputc('x', stream);
	fflush(NULL);
	fclose(stream);
	return 0;
}

static pthread_t first;

__attribute__((constructor)) static void remember_first(void)
{
	first = pthread_self();
}

int ccall_first_tid(void)
{
	clockid_t clock;

	/* No call of libc's tells the id, but this number is made of it: the kernel's
	 * clock of a thread is ~id << 3 with a kind in the lowest bits. */
	return pthread_getcpuclockid(first, &clock) ? -1 : ~(clock >> 3);
}

int ccall_has_underscore_fork(void)
{
	return _Fork != NULL;
}
