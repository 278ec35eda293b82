//go:build linux && amd64

/* thread.c - one thread: what the kernel keeps of it, and its copy in the child. */

#define _GNU_SOURCE
#include "held.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "glibc.h"

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

_Static_assert(offsetof(struct thread, context) == 8, "thread_amd64.S");

struct thread **threads;
int thread_count;

/* How many threads of the child, the leader included, are not ready to go on. */
static _Atomic uint32_t unready;
static int child_pid;

/* Where glibc has them, from a thread's TLS base: the same for all threads. */
static uintptr_t tls_to_tid, tls_to_robust_list;
static size_t robust_size;

/* thread_look finds that out, once, from the calling thread. */
int thread_look(const char **why)
{
	uintptr_t tid_address, robust_list;

	if (raw(SYS_prctl, PR_GET_TID_ADDRESS, &tid_address) != 0 ||
	    raw(SYS_get_robust_list, 0, &robust_list, &robust_size) != 0) {
		*why = "the kernel doesn't tell where libc keeps thread ids";
		return -ENOSYS;
	}
	tls_to_tid = tid_address - glibc_tls_base();
	tls_to_robust_list = robust_list - glibc_tls_base();
	return 0;
}

/*
 * thread_record notes what the kernel knows of the calling thread and clone(2)
 * won't copy. What the signal frame holds (registers, floating point, the mask,
 * the alternate stack) isn't noted: rt_sigreturn restores that. Each system call
 * less counts, as many times as there are threads.
 */
void thread_record(struct thread *self, int tid, void *context)
{
	self->tid = tid;
	self->context = context;
	self->tls = glibc_tls_base();
	self->tid_address = (int *)(self->tls + tls_to_tid);
	self->m = runtime_m(self->tls);
	raw(SYS_prctl, PR_GET_NAME, self->name);
	self->affinity_size = raw(SYS_sched_getaffinity, 0, sizeof self->affinity, self->affinity);
}

/* thread_known tells whether libc knows the thread by its id, as it must. */
int thread_known(const struct thread *thread)
{
	return *thread->tid_address == thread->tid;
}

/*
 * thread_fork is fork(2) on the group's leader: so the main thread keeps a thread
 * id that is the process's. Not libc's: that would free all other threads' stacks.
 * CLONE_CHILD_SETTID mends libc's notion of the thread's id.
 */
long thread_fork(struct thread *leader)
{
	long pid = raw(SYS_clone, SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
		       NULL, NULL, leader->tid_address, 0);

	if (pid == 0) {
		child_pid = (int)raw(SYS_getpid);
		leader->tid = child_pid;
	}
	return pid;
}

/*
 * start_below makes the copies of the threads 2i+1 and 2i+2, which make theirs in
 * turn: a tree, so that all processors take part. A thread that can't be made
 * ends the child: it would be a process in which some goroutines never go on.
 */
static void start_below(int i)
{
	const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

	for (int k = 2 * i + 1; k <= 2 * i + 2 && k < thread_count; k++) {
		struct thread *t = threads[k];

		if (forkall_clone(flags, t, t->tid_address, t->tid_address, t->tls) < 0)
			raw(SYS_exit_group, FORKALL_UNMADE);
	}
}

static int same(const void *a, const void *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const char *)a)[i] != ((const char *)b)[i])
			return 0;
	return 1;
}

/* give gives the calling thread what clone(2) didn't copy. */
static void give(struct thread *self)
{
	const struct thread *leader = threads[0];

	raw(SYS_set_robust_list, self->tls + tls_to_robust_list, robust_size);
	if (self != leader) { /* whose rest fork(2) has copied, and clone(2) to all */
		glibc_rseq(self->tls);
		if (self->affinity_size > 0 && !same(self->affinity, leader->affinity, sizeof self->affinity))
			raw(SYS_sched_setaffinity, 0, self->affinity_size, self->affinity);
		if (!same(self->name, leader->name, NAME_SIZE))
			raw(SYS_prctl, PR_SET_NAME, self->name);
	}
	if (self->m != 0) {
		runtime_mend(self);
		/*
		 * A preemption signal that was pending in the parent is lost, and
		 * Go would not send another one before it has come.
		 */
		raw(SYS_tgkill, child_pid, self->tid, SIGURG);
	}
}

static void ready(void)
{
	if (atomic_fetch_sub(&unready, 1) == 1)
		wake_all(&unready);
}

/* forkall_thread_start is the first and the last that a thread made anew runs. */
void forkall_thread_start(struct thread *self)
{
	start_below(self->index);
	self->tid = *self->tid_address; /* CLONE_PARENT_SETTID */
	give(self);
	ready();
	hold_wait(self);
}

/* thread_make_all runs on the child's leader and returns when all are ready. */
void thread_make_all(void)
{
	uint32_t left;

	atomic_store(&unready, (uint32_t)thread_count);
	start_below(0);
	give(threads[0]);
	ready();
	while ((left = atomic_load(&unready)) != 0)
		sleep_on(&unready, left, 0);
}
