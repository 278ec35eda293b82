/*
 * cloop.h - the loop that Fork is measured against, in C.
 */
#ifndef RAWFORK_CLOOP_H
#define RAWFORK_CLOOP_H

/*
 * cloop_fork forks a child that ends at once and waits for it, n times, and
 * writes how long each time took, in nanoseconds, to ns. Returns 0 or an errno.
 */
int cloop_fork(int n, long long *ns);

/* cloop_call does the same and times the call of fork alone, in the parent. */
int cloop_call(int n, long long *ns);

/* The ways to start a program. */
enum cloop_way { CLOOP_FORK, CLOOP_VFORK, CLOOP_SPAWN };

/*
 * cloop_exec starts the program at path, with no environment, and waits for it, n
 * times: by fork and execve, by vfork and execve, or by posix_spawn with the attributes
 * and file actions of BySpawn. Otherwise as
 * cloop_fork.
 */
int cloop_exec(const char *path, enum cloop_way way, int n, long long *ns);

/*
 * cloop_ask has the fork server at the other end of sock (peers/forkserver) start its
 * program, as a child of this process, and waits for it, n times. Otherwise as cloop_fork.
 */
int cloop_ask(int sock, int n, long long *ns);

/* What a turn of cloop_hold took, in nanoseconds. */
struct cloop_hold {
	long long forked; /* a call of fork(2) alone, just before */
	long long held;   /* until all threads slept in the handler, from the first signal */
	long long called; /* until all were told to go on, the fork between */
};

/*
 * cloop_hold makes n threads that wait in read(2), and then so often: has each enter a
 * handler and sleep there, forks, and wakes them up; the child makes as many threads.
 * It does the least that forks all threads, with nothing to record and to check.
 * Returns 0 or an errno. SIGUSR2 is its own meanwhile. Calls must not overlap.
 */
int cloop_hold(int n, int rounds, struct cloop_hold *took);

#endif
