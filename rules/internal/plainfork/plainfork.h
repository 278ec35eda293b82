/*
 * plainfork.h - fork() as a program gets it that knows nothing better.
 */
#ifndef RAWFORK_PLAINFORK_H
#define RAWFORK_PLAINFORK_H

/*
 * plain_fork calls fork() and returns its result, or -errno, in both processes.
 * The child's standard output and error go to the descriptor sink.
 */
int plain_fork(int sink);

#endif
