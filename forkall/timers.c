//go:build linux && amd64

/*
 * timers.c - the timers of Go's CPU profiler, which fork(2) doesn't copy: one
 * POSIX timer for each thread, whose id the runtime keeps, and ITIMER_PROF.
 */

#define _GNU_SOURCE
#include "held.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

/* Linux 6.15: timers get the ids that they are asked for. */
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define RESTORE_OFF 0
#define RESTORE_ON 1
#define RESTORE_GET 2

#define MAX_TIMERS 65536

static struct timer {
	int id;
	struct thread *thread;
	struct itimerspec setting;
} *timers;
static int timer_count;
static struct itimerval profile;

static struct thread *thread_of(uint64_t tid)
{
	for (int i = 0; i < thread_count; i++)
		if ((uint64_t)threads[i]->tid == tid)
			return threads[i];
	return NULL;
}

/* add_timer takes the lines of one timer, the id first: see proc_pid_timers(5). */
static int add_timer(const char *line)
{
	static uint64_t id, signal;
	const char *at;
	uint64_t tid;

	if ((at = proc_after(line, "ID: ")) == line + strlen("ID: "))
		proc_number(at, 10, &id);
	else if ((at = proc_after(line, "signal: ")) != NULL)
		proc_number(at, 10, &signal);
	else if ((at = proc_after(line, "notify: signal/tid.")) != NULL && signal == SIGPROF) {
		struct timer *t = &timers[timer_count];

		if (timer_count == MAX_TIMERS)
			return -EMFILE;
		proc_number(at, 10, &tid);
		t->id = (int)id;
		t->thread = thread_of(tid);
		if (t->thread != NULL && raw(SYS_timer_gettime, t->id, &t->setting) == 0)
			timer_count++;
	}
	return 0;
}

/* timers_read is called while all threads are held. */
int timers_read(const char **why)
{
	int file = (int)raw(SYS_open, "/proc/self/timers", O_RDONLY | O_CLOEXEC), err = 0;

	if (timers == NULL)
		timers = proc_reserve(MAX_TIMERS * sizeof *timers);
	if (timers == NULL)
		return -ENOMEM;
	timer_count = 0;
	if (file >= 0)
		err = proc_each_line(file, add_timer);
	else if (file != -ENOENT) /* which says that the kernel was built without them */
		err = file;
	raw(SYS_getitimer, ITIMER_PROF, &profile);
	if (err != 0) {
		*why = "the timers can't be read from /proc";
		return err;
	}
	if (timer_count > 0 && raw(SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, RESTORE_GET, 0, 0, 0) < 0) {
		*why = "a CPU profile is running, whose timers this kernel can't make anew";
		return -ENOSYS;
	}
	return 0;
}

/* struct sigevent as the kernel has it, with SIGEV_THREAD_ID's field, for which libcs have no common name. */
struct notification {
	void *value;
	int signal, how, tid, rest[11];
};

/* timers_make is called in the child, when all threads are there and held. */
void timers_make(void)
{
	if (timer_count > 0)
		raw(SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, RESTORE_ON, 0, 0, 0);
	for (int i = 0; i < timer_count; i++) {
		struct timer *t = &timers[i];
		struct notification event = { .signal = SIGPROF, .how = SIGEV_THREAD_ID, .tid = t->thread->tid };
		/* The clock of that thread's processor time: see clock_getcpuclockid(3). */
		int clock = (int)(~(unsigned)t->thread->tid << 3 | 6), id = t->id;

		if (raw(SYS_timer_create, clock, &event, &id) < 0)
			raw(SYS_exit_group, FORKALL_UNMADE);
		raw(SYS_timer_settime, id, 0, &t->setting, NULL);
	}
	if (timer_count > 0)
		raw(SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, RESTORE_OFF, 0, 0, 0);
	if (profile.it_interval.tv_sec != 0 || profile.it_interval.tv_usec != 0)
		raw(SYS_setitimer, ITIMER_PROF, &profile, NULL);
}
