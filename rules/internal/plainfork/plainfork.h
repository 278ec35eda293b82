/*
 * plainfork.h - fork() as a program gets it that knows nothing better.
 */
#ifndef RAWFORK_PLAINFORK_H
#define RAWFORK_PLAINFORK_H

/*
 * plain_fork calls fork() and returns its result, or -errno, in both processes.
 * The child's standard output and error go to the descriptor sink. It leads a
 * process group, to be killed with all that it starts, and is killed when the
 * thread that forked ends: it hangs, and must not outlive the program.
 */
int plain_fork(int sink);

#endif
