/*
 * floor.h - making a process in plain C, as the floor for all other methods: fork
 * or vfork, then exec or _exit, and the wait, in one call, in the same process.
 */
#ifndef RAWFORK_FLOOR_H
#define RAWFORK_FLOOR_H

enum floor_how {
	FLOOR_FORK_EXEC,
	FLOOR_VFORK_EXEC,
	FLOOR_FORK_EXIT,
	FLOOR_VFORK_EXIT,
};

/* Times are nanoseconds of CLOCK_MONOTONIC. */
struct floor_times {
	long long start;    /* before the fork */
	long long returned; /* after it, in the parent */
	long long ended;    /* the child is reaped */
	long faults;        /* minor page faults of the child */
	long switches;      /* its context switches */
};

/*
 * floor_run makes a child and waits for it. To exec, the child has stamp_fd as its
 * descriptor 3 and executes path without an environment; else it writes the time
 * of its first instruction to *stamp, which must be in shared memory. stamp_fd is
 * not 3. Returns 0 or an errno; then there is no child.
 */
int floor_run(int how, const char *path, int stamp_fd, long long *stamp, struct floor_times *times);

#endif
