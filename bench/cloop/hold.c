//go:build linux

/*
 * hold.c - what holding threads costs a program of C alone: the floor under package
 * forkall. Each thread enters the handler of a signal and sleeps there, the process
 * forks, the child makes as many threads, and the parent's are woken up.
 */

#define _GNU_SOURCE
#include "cloop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK 16384 /* of a thread of the child */
#define LIKE_THREADS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

static _Atomic uint32_t missing, complete, gate;
static int end[2]; /* a pipe: the threads wait for its end */

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void sleep_on(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL);
}

static void wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX);
}

static void come(void)
{
	if (atomic_fetch_sub(&missing, 1) == 1) {
		atomic_store(&complete, 1);
		wake_all(&complete);
	}
}

static void await_all(void)
{
	while (atomic_load(&complete) == 0)
		sleep_on(&complete, 0);
}

static void on_signal(int signal)
{
	(void)signal;
	come();
	while (atomic_load(&gate) == 0)
		sleep_on(&gate, 0);
}

static void *wait_for_end(void *tid)
{
	char c;

	*(pid_t *)tid = (pid_t)syscall(SYS_gettid);
	come();
	while (read(end[0], &c, 1) < 0 && errno == EINTR)
		;
	return NULL;
}

static void expect(int n)
{
	atomic_store(&complete, n == 0);
	atomic_store(&missing, (uint32_t)n);
}

/* play_thread is a thread of the child's, with the least that it has to do. */
static int play_thread(void *arg)
{
	(void)arg;
	come();
	while (atomic_load(&gate) == 0) /* for ever: its process ends */
		sleep_on(&gate, 0);
	return 0;
}

static void play_child(int n, char *stacks)
{
	expect(n);
	for (int i = 1; i <= n; i++)
		if (clone(play_thread, stacks + (size_t)i * STACK, LIKE_THREADS, NULL) < 0)
			_exit(1);
	await_all();
	_exit(0);
}

/* reap waits for pid, or says why there is none. */
static int reap(pid_t pid)
{
	int status;

	if (pid < 0)
		return errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : ECANCELED;
}

static int hold_once(const pid_t *tids, int n, char *stacks, struct cloop_hold *took)
{
	long long start;
	pid_t pid;
	int error = cloop_call(1, &took->forked);

	if (error != 0)
		return error;
	start = now();
	atomic_store(&gate, 0);
	expect(n);
	for (int i = 0; i < n; i++)
		syscall(SYS_tgkill, getpid(), tids[i], SIGUSR2);
	await_all();
	took->held = now() - start;
	pid = fork();
	if (pid == 0)
		play_child(n, stacks);
	atomic_store(&gate, 1);
	wake_all(&gate);
	took->called = now() - start;
	return reap(pid);
}

/* with_threads makes n threads, calls hold_once rounds times, and ends them. */
static int with_threads(int n, pthread_t *threads, pid_t *tids, char *stacks, int rounds, struct cloop_hold *took)
{
	int error = 0, made = 0;

	expect(n);
	while (error == 0 && made < n)
		if ((error = pthread_create(&threads[made], NULL, wait_for_end, &tids[made])) == 0)
			made++;
	if (error == 0)
		await_all();
	for (int i = 0; error == 0 && i < rounds; i++)
		error = hold_once(tids, n, stacks, &took[i]);
	close(end[1]);
	while (made > 0)
		pthread_join(threads[--made], NULL);
	close(end[0]);
	return error;
}

int cloop_hold(int n, int rounds, struct cloop_hold *took)
{
	struct sigaction own = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK }, before;
	pthread_t *threads = calloc((size_t)n, sizeof *threads);
	pid_t *tids = calloc((size_t)n, sizeof *tids);
	char *stacks = malloc((size_t)n * STACK);
	int error = ENOMEM;

	sigfillset(&own.sa_mask);
	if (threads != NULL && tids != NULL && stacks != NULL)
		error = pipe2(end, O_CLOEXEC) < 0 || sigaction(SIGUSR2, &own, &before) < 0 ? errno : 0;
	if (error == 0) {
		error = with_threads(n, threads, tids, stacks, rounds, took);
		sigaction(SIGUSR2, &before, NULL);
	}
	free(threads);
	free(tids);
	free(stacks);
	return error;
}
