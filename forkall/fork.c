//go:build linux && amd64

/* fork.c - the way in: what is looked up once, and tries until one succeeds. */

#include "held.h"

#include <errno.h>

#include "glibc.h"

/*
 * A try holds the process for at most its limit, which doubles from try to try.
 * Then all go on for a while: who could not come may have been waiting for one of
 * those that were held.
 */
#define FIRST_LIMIT 40000000ull    /* 40 ms */
#define LAST_LIMIT 2560000000ull   /* with 25 times as much work as processors 320 ms were too few */
#define PATIENCE 10000000000ull    /* for all tries together */
#define SHORTEST_PAUSE 100000ull

_Atomic uint32_t forkall_generation;

int forkall_look(const char **why)
{
	static int done;
	int err;

	if (done)
		return 0;
	err = glibc_look(why);
	if (err == 0)
		err = runtime_find(why);
	if (err == 0)
		err = thread_look(why);
	if (err == 0)
		err = hold_install();
	done = err == 0;
	return err;
}

static void pause_for(uint64_t nanoseconds)
{
	struct timespec t = { 0, (long)nanoseconds };

	raw(SYS_nanosleep, &t, NULL);
}

long forkall_fork(const struct forkall_cut *cut, const char **why, struct forkall_stats *stats)
{
	uint64_t limit = FIRST_LIMIT, start = now();
	long pid;

	*why = "";
	stats->tries = 0;
	pid = forkall_look(why);
	if (pid == 0)
		pid = descriptors_prepare(why);
	if (pid != 0)
		return pid;
	for (;;) {
		uint64_t began = now();

		stats->tries++;
		pid = hold_and_fork(cut, limit, why, stats);
		/* With no reason it is fork(2) that has failed. */
		if (pid != -EAGAIN || **why == 0 || now() - start > PATIENCE)
			break;
		/* Not in step with what was in the way, whatever its period. */
		pause_for(SHORTEST_PAUSE + now() % 16 * SHORTEST_PAUSE);
		if (now() - began >= limit && limit < LAST_LIMIT)
			limit *= 2;
	}
	descriptors_finish();
	return pid;
}
