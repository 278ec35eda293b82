//go:build linux

#define _GNU_SOURCE
#include "cload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void cload_malloc(int n)
{
	for (int i = 0; i < n; i++) {
		size_t size = 100 + (size_t)i * 37 % 300000;
		char *block = malloc(size);

		if (block != NULL)
			memset(block, 1, 100);
		free(block);
	}
}

void cload_sleep(int microseconds)
{
	struct timespec left = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

int cload_open(void)
{
	void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);

	if (library == NULL || dlsym(library, "sin") == NULL)
		return -1;
	return dlclose(library);
}

static void *allocate(void *arg)
{
	cload_malloc(10);
	return arg;
}

int cload_thread(void)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, allocate, NULL);

	return err != 0 ? err : pthread_join(thread, NULL);
}

static void *work(void *progress)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		cload_malloc(100);
		__atomic_add_fetch((int64_t *)progress, 1, __ATOMIC_SEQ_CST);
		cload_sleep(500);
	}
	return NULL;
}

int cload_masked(int64_t *progress)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, work, progress);

	return err != 0 ? err : pthread_detach(thread);
}

int cload_vfork(int ready, int end)
{
	char c = 1;
	pid_t pid = vfork();

	if (pid == 0)
		_exit(write(ready, &c, 1) != 1 || read(end, &c, 1) != 1);
	if (pid < 0)
		return errno;
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

void cload_decoy(int ids)
{
	static _Thread_local void *volatile in_tls;
	static void *g[512], *m[512];

	memset(m, 0, sizeof m);
	m[0] = g;
	for (int i = 0; i < ids; i++)
		m[10 + i] = (void *)syscall(SYS_gettid);
	g[5] = m;
	in_tls = g;
	(void)in_tls;
}

/* since glibc 2.35 */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
#define RSEQ_LEAST 32
#define RSEQ_SIGNATURE 0x53053053

int cload_rseq(void)
{
	char *area;

	if (&__rseq_size == NULL || __rseq_size == 0)
		return ENOSYS;
	area = (char *)pthread_self() + __rseq_offset; /* which is the TLS base on amd64 */
	if (syscall(SYS_rseq, area, __rseq_size > RSEQ_LEAST ? __rseq_size : RSEQ_LEAST, 0, RSEQ_SIGNATURE) == 0)
		return 0;
	return errno;
}
