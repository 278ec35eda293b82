//go:build linux

#include "posix.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Weak: a libc without it makes this NULL. */
pid_t _Fork(void) __attribute__((weak));

/* What a child tells its parent, in memory that both share. */
static struct shared {
	int logging;
	int calls;
	char log[64];
	int ran;
} *shared;

static int share(void)
{
	void *memory;

	if (shared)
		return 0;
	memory = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	shared = memory;
	return 0;
}

static pid_t fork_by(int how)
{
	if (how == BY_FORK)
		return fork();
	if (how == BY_CLONE)
		return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!_Fork) {
		errno = ENOSYS;
		return -1;
	}
	return _Fork();
}

/* reap waits for a child and returns its exit status, or -errno. */
static int reap(pid_t pid)
{
	int status;

	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EPROTO;
}

static void note(char what)
{
	if (shared->logging && shared->calls < (int)sizeof(shared->log) - 1)
		shared->log[shared->calls++] = what;
}

static void prepare_a(void) { note('a'); }
static void prepare_b(void) { note('b'); }
static void parent_a(void) { note('A'); }
static void parent_b(void) { note('B'); }
static void child_a(void) { note('1'); }
static void child_b(void) { note('2'); }

int posix_atfork_begin(void)
{
	static int registered;
	int err = share();

	if (err)
		return err;
	if (!registered) {
		err = pthread_atfork(prepare_a, parent_a, child_a);
		if (!err)
			err = pthread_atfork(prepare_b, parent_b, child_b);
		if (err)
			return -err;
		registered = 1;
	}
	memset(shared, 0, sizeof(*shared));
	shared->logging = 1;
	return 0;
}

void posix_atfork_end(char *log, size_t size)
{
	shared->logging = 0;
	snprintf(log, size, "%s", shared->log);
}

int posix_fork(int how)
{
	pid_t pid = fork_by(how);

	if (pid == 0)
		_exit(0);
	return reap(pid);
}

static void at_exit(void)
{
	if (shared)
		shared->ran++;
}

int posix_exit(int by_exit, int *ran)
{
	static int registered;
	pid_t pid;
	int err = share();

	if (!err && !registered) {
		if (atexit(at_exit) != 0)
			err = -ENOMEM;
		registered = 1;
	}
	if (err)
		return err;
	shared->ran = 0;
	pid = fork();
	if (pid == 0) {
		if (by_exit)
			exit(0);
		_exit(0);
	}
	err = reap(pid);
	*ran = shared->ran;
	return err;
}

int posix_stream(int fd, int child_flushes)
{
	pid_t pid;
	int err, own = dup(fd);
	FILE *stream = own < 0 ? NULL : fdopen(own, "w");

	if (!stream) {
		err = -errno;
		if (own >= 0)
			close(own);
		return err;
	}
	fputs("line\n", stream);
	pid = fork();
	if (pid == 0) {
		if (child_flushes)
			fflush(stream);
		_exit(0);
	}
	err = reap(pid);
	if (fclose(stream) != 0 && !err)
		err = -errno;
	return err;
}

static int names(DIR *dir)
{
	int n = 0;

	while (readdir(dir))
		n++;
	return n;
}

int posix_directory(const char *path, int *in_child, int *in_parent)
{
	pid_t pid;
	DIR *dir = opendir(path);

	if (!dir)
		return -errno;
	readdir(dir);
	pid = fork();
	if (pid == 0)
		_exit(names(dir));
	*in_child = reap(pid);
	*in_parent = names(dir);
	closedir(dir);
	return *in_child < 0 ? *in_child : 0;
}

int posix_thread(int *kept)
{
	static __thread int value;
	pthread_t self = pthread_self();
	pid_t pid;
	int err;

	value = getpid();
	pid = fork();
	if (pid == 0)
		_exit(value == getppid() && pthread_equal(self, pthread_self()));
	err = reap(pid);
	*kept = err == 1;
	return err < 0 ? err : 0;
}

struct resizer {
	char *memory;
	atomic_int rounds;
	atomic_bool stop;
};

/* resize holds the lock of the heap that the memory is from for most of the time. */
static void *resize(void *arg)
{
	struct resizer *r = arg;

	while (!atomic_load(&r->stop)) {
		size_t size = atomic_fetch_add(&r->rounds, 1) % 2 ? 4096 : 65536;
		char *p = realloc(r->memory, size);

		if (p)
			r->memory = p;
	}
	return NULL;
}

int posix_malloc(int how, int allocate, int status)
{
	struct resizer r = { .memory = malloc(4096) };
	char *volatile used = r.memory;
	pthread_t thread;
	pid_t pid;
	int err;

	if (!used)
		return -ENOMEM;
	err = pthread_create(&thread, NULL, resize, &r);
	if (err) {
		free(r.memory);
		return -err;
	}
	while (atomic_load(&r.rounds) < 1000)
		sched_yield();
	pid = fork_by(how);
	if (pid == 0) {
		/* Larger than what a thread keeps for itself, without the lock. */
		if (allocate)
			used = malloc(8192);
		_exit(used ? status : 1);
	}
	err = pid < 0 ? -errno : 0;
	atomic_store(&r.stop, 1);
	pthread_join(thread, NULL);
	free(r.memory);
	return err ? err : pid;
}
