//go:build linux && amd64

/*
 * hold.c - every thread is held in a signal handler, the leader forks, all go on.
 *
 * A thread is asked to stop by a signal that carries the number of the try and of
 * its slot. The slot then holds a token; a thread that comes puts its own struct
 * thread there, by compare-and-swap. Whoever comes late, after the try was called
 * off, finds another value and goes its way.
 */

#include "held.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "glibc.h"

/*
 * The signal is glibc's SIGSETXID, which pthread_sigmask never blocks: so it also
 * comes to C threads that block everything. What isn't ours is handed on to the
 * handler that glibc has put there.
 */
#define HOLD_SIGNAL 33
#define MARK 0x666f726b /* si_pid of our signals */

#define MAX_THREADS (1 << 22) /* the kernel's own limit of ids */
#define PER_THREAD 500000ull  /* more time for each, in ns: on a slow machine 100,000 are needed */
#define LEADER 0              /* the leader's slot */

static _Atomic uintptr_t *slots; /* a token, a struct thread, or 0: nobody */
static int *tids;                /* whom each slot's signal was sent to */
static int slot_count;

static uint32_t try;                /* the number of the running one */
static int pid, caller;             /* the process, and the thread that forks it */
static _Atomic uint32_t released;   /* the last try whose threads may go on */
static _Atomic uint32_t finished;   /* the same for the caller: it has a result */
static _Atomic uint32_t under_way;  /* the last try whose caller has its result */
static _Atomic uint32_t missing;    /* how many have not come yet; 1 more while asking */
static _Atomic uint32_t complete;   /* how many times nobody was missing any more */
static long result;                 /* a pid, 0 in the child, or -errno */
static const char *reason;
static uint64_t began, deadline;
static const struct forkall_cut *cut_off;
static struct forkall_stats *stats;

static struct {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
} before;

static uintptr_t token(uint32_t try_number)
{
	return (uintptr_t)try_number << 1 | 1; /* odd: no pointer */
}

/* withdraw takes the token out of a slot. It tells whether it was still there. */
static int withdraw(int slot)
{
	uintptr_t expected = token(try);

	return atomic_compare_exchange_strong(&slots[slot], &expected, 0);
}

static void one_less_missing(void)
{
	if (atomic_fetch_sub(&missing, 1) == 1) {
		atomic_fetch_add(&complete, 1);
		wake_all(&complete);
	}
}

/* ask gives a thread the next slot and sends it the signal. */
static int ask(int tid)
{
	int slot = slot_count;
	siginfo_t info;
	long err;

	if (slot == MAX_THREADS) {
		reason = "too many threads";
		return -EAGAIN;
	}
	memset(&info, 0, sizeof info);
	info.si_signo = HOLD_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = MARK;
	info.si_value.sival_ptr = (void *)((uintptr_t)try << 32 | (uintptr_t)slot);
	tids[slot] = tid;
	slot_count++;
	atomic_fetch_add(&missing, 1);
	atomic_store(&slots[slot], token(try));
	err = raw(SYS_rt_tgsigqueueinfo, pid, tid, HOLD_SIGNAL, &info);
	if (err == 0)
		return 0;
	if (withdraw(slot))
		one_less_missing();
	reason = "a thread can't be signalled: is the limit on pending signals reached?";
	return (int)err;
}

static int ask_other(int tid)
{
	int err = tid == tids[LEADER] ? 0 : ask(tid);

	return err == -ESRCH ? 0 : err; /* it has just ended */
}

static int ask_if_new(int tid)
{
	for (int i = 0; i < slot_count; i++)
		if (tids[i] == tid && atomic_load(&slots[i]) != 0)
			return 0;
	return ask_other(tid);
}

/* forget_ended withdraws what was asked of threads that have ended since. */
static void forget_ended(void)
{
	for (int i = LEADER + 1; i < slot_count; i++)
		if (atomic_load(&slots[i]) == token(try) &&
		    raw(SYS_tgkill, pid, tids[i], 0) == -ESRCH && withdraw(i))
			one_less_missing();
}

/* await_asked waits until all that were asked are held or have ended. */
static int await_asked(void)
{
	const uint64_t end = deadline + (uint64_t)slot_count * PER_THREAD;
	uint64_t patience = 1000000; /* a thread that ends needs no longer */
	uint32_t left, seen;

	while (seen = atomic_load(&complete), (left = atomic_load(&missing)) != 0 && now() < end) {
		sleep_on(&complete, seen, patience);
		if (atomic_load(&missing) == left) {
			forget_ended();
			if (patience < 10000000)
				patience *= 2;
		}
	}
	if (now() < end)
		return 0;
	reason = "a thread didn't come in time";
	return -EAGAIN;
}

/*
 * collect lists the threads that are held and tells whether those are all that
 * the kernel counts: a thread that isn't held may have made others meanwhile.
 */
static int collect(void)
{
	thread_count = 0;
	for (int i = LEADER; i < slot_count; i++) {
		struct thread *t = (struct thread *)atomic_load(&slots[i]);

		if (t == NULL)
			continue;
		t->index = thread_count;
		threads[thread_count++] = t;
	}
	return thread_count == proc_count_tasks();
}

/* hold_others holds every thread but the leader, which is here. */
static int hold_others(void)
{
	int (*use)(int) = ask_other;
	int err;

	do {
		atomic_store(&missing, 1); /* so that nobody wakes us too early */
		err = proc_each_number("/proc/self/task", 0, use);
		one_less_missing();
		if (err == 0)
			err = await_asked();
		use = ask_if_new;
	} while (err == 0 && !collect());
	return err;
}

/*
 * call_off lets nobody be held any more. Who is on the way to being counted is
 * waited for, so as not to be counted in the next try.
 */
static void call_off(void)
{
	uint32_t seen;

	for (int i = LEADER + 1; i < slot_count; i++)
		if (withdraw(i))
			one_less_missing();
	while (seen = atomic_load(&complete), atomic_load(&missing) != 0)
		sleep_on(&complete, seen, 0);
}

/* check tells whether the threads stand where their copies can go on. */
static int check(void)
{
	for (int i = 0; i < thread_count; i++)
		if (!thread_known(threads[i]) || !runtime_settled(threads[i])) {
			reason = "Go is making or ending a thread";
			return -EAGAIN;
		}
	if (glibc_threads_busy()) {
		reason = "glibc is making or ending a thread, or setting ids";
		return -EAGAIN;
	}
	if (linker_busy()) {
		reason = "the dynamic linker is at work";
		return -EAGAIN;
	}
	return 0;
}

/* hold_wait waits until a thread that is held may go on. */
void hold_wait(const struct thread *self)
{
	uint32_t last;

	while ((int32_t)((last = atomic_load(self->gate)) - self->try) < 0)
		sleep_on(self->gate, last, 0);
}

/*
 * finish tells the caller the result, and wakes up the others once the caller is on
 * its way: would it wake up with all of them, it would have to wait for its turn.
 */
static void finish(long value)
{
	const uint32_t own = try; /* the caller may soon begin another */
	const int here = caller == pid;
	uint32_t last;

	result = value;
	atomic_store(&finished, own);
	if (here)
		return;
	wake_all(&finished);
	while ((int32_t)((last = atomic_load(&under_way)) - own) < 0)
		sleep_on(&under_way, last, 0);
	wake_all(&released);
}

/* let_go is the caller's part in that: all may go on. */
static void let_go(void)
{
	atomic_store(&released, try);
	if (caller == pid) {
		wake_all(&released);
		return;
	}
	atomic_store(&under_way, try);
	wake_all(&under_way);
}

/* lead runs in the leader's handler: it holds the others, forks, lets all go. */
static void lead(struct thread *leader)
{
	uint64_t held, read;
	long err = hold_others();

	if (err == 0)
		err = check();
	held = now();
	if (err == 0)
		err = descriptors_read(&reason, stats);
	if (err == 0)
		err = timers_read(&reason);
	read = now();
	if (err == 0 && (err = thread_fork(leader)) == 0) { /* ---- the child ---- */
		atomic_fetch_add(&forkall_generation, 1);
		descriptors_give_way();
		descriptors_rebuild(cut_off);
		thread_make_all();
		timers_make();
		finish(0);
		return;
	}
	if (err < 0)
		call_off();
	stats->hold = held - began;
	stats->read = read - held;
	stats->copy = now() - read;
	stats->threads = (uint32_t)thread_count;
	finish(err);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	struct thread self;
	uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
	uintptr_t expected = token((uint32_t)(value >> 32));
	uint32_t slot = (uint32_t)value;

	if (info->si_code != SI_QUEUE || info->si_pid != MARK || slot >= MAX_THREADS) {
		if (before.handler != (void *)SIG_DFL && before.handler != (void *)SIG_IGN)
			before.handler(signal, info, context);
		return;
	}
	self.try = (uint32_t)(value >> 32);
	self.gate = tids[slot] == caller ? &finished : &released;
	thread_record(&self, tids[slot], context);
	if (!atomic_compare_exchange_strong(&slots[slot], &expected, (uintptr_t)&self))
		return; /* too late: the try was called off */
	if (slot == LEADER)
		lead(&self);
	else
		one_less_missing();
	hold_wait(&self);
}

/* hold_install makes room and installs the handler, once. */
int hold_install(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} own = { on_signal, SA_SIGINFO | SA_ONSTACK | SA_RESTART | 0x04000000 /* SA_RESTORER */,
		  forkall_restorer, ~(uint64_t)0 };

	slots = proc_reserve(MAX_THREADS * sizeof *slots);
	tids = proc_reserve(MAX_THREADS * sizeof *tids);
	threads = proc_reserve(MAX_THREADS * sizeof *threads);
	if (slots == NULL || tids == NULL || threads == NULL)
		return -ENOMEM;
	/* Not libc's sigaction, which keeps this signal to itself. */
	return (int)raw(SYS_rt_sigaction, HOLD_SIGNAL, &own, &before, sizeof own.mask);
}

/*
 * hold_and_fork makes one try. The leader does the work, in its handler. The
 * caller is held like everybody else, unless it is the leader; in the child its
 * copy finds the result 0.
 */
long hold_and_fork(const struct forkall_cut *cut, uint64_t limit, const char **why, struct forkall_stats *into)
{
	uint32_t last;
	long err;

	try++;
	slot_count = 0;
	cut_off = cut;
	stats = into;
	reason = "";
	began = now();
	deadline = began + limit;
	pid = (int)raw(SYS_getpid);
	caller = (int)raw(SYS_gettid);
	err = ask(pid);
	while (err == 0 && (last = atomic_load(&finished)) != try) {
		uint64_t t = now();

		sleep_on(&finished, last, t < deadline ? deadline - t : 0);
		if (now() >= deadline && withdraw(LEADER)) {
			reason = "the main thread didn't come in time";
			err = -EAGAIN;
		}
	}
	if (err == 0 && result > 0)
		descriptors_make_way();
	let_go();
	into->stopped = now() - began;
	*why = reason;
	return err != 0 ? err : result;
}
