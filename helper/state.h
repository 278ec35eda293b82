/*
 * state.h - what a child inherits from who forks it, each in one call: the same in Go
 * takes dozens of calls, at each of which the goroutine can lose its P.
 */
#ifndef RAWFORK_HELPER_STATE_H
#define RAWFORK_HELPER_STATE_H

#include "wire.h"

/* The links in /proc/PID/ns that rf_state_read reads. */
#define RF_NAMESPACES 8

/*
 * rf_state_read reads the state of the process pid, or of the calling thread when pid
 * is 0. text gets, each with a NUL behind it: the files status, stat, limits and cgroup
 * of its directory in /proc, its root directory as device:inode, and its namespaces.
 * What an older kernel hasn't got and what the caller may not see is empty. Returns the
 * length of text, or -errno: -ERANGE when text is too small.
 */
int rf_state_read(int32_t pid, char *text, size_t size);

/* rf_limits_read reads all limits of a process, soft and hard; the caller's when pid
 * is 0. Returns 0 or -errno. */
int rf_limits_read(int32_t pid, uint64_t limits[RF_LIMITS][2]);

#endif
