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
 * times: by fork and execve, by vfork and execve, or by posix_spawn. Otherwise as
 * cloop_fork.
 */
int cloop_exec(const char *path, enum cloop_way way, int n, long long *ns);

#endif
