/*
 * posix.h - what fork does to a C program: rules that can't be seen by system
 * calls. Each function forks, and its child ends in C. Functions return 0, or a
 * negative errno if what is to be seen couldn't be set up. None may be called by
 * two threads at a time.
 */
#ifndef RAWFORK_RULES_POSIX_H
#define RAWFORK_RULES_POSIX_H

#include <stddef.h>

/* How a function forks. */
enum { BY_FORK, BY_UFORK /* _Fork: -ENOSYS where libc hasn't got it */, BY_CLONE /* clone(2), without libc */ };

/*
 * posix_atfork_begin registers two sets of handlers by pthread_atfork, once in the
 * life of the program, and has them write down their calls, for as long as nobody
 * calls posix_atfork_end. That one fills log with the calls, a letter each: b and
 * a for prepare, A and B for parent, 1 and 2 for child.
 */
int posix_atfork_begin(void);
void posix_atfork_end(char *log, size_t size);

/* posix_fork forks a child that ends at once, and reaps it. */
int posix_fork(int how);

/*
 * posix_exit forks a child that ends by exit(), or by _exit(), and sets *ran to how
 * often a function ran there that was registered by atexit before.
 */
int posix_exit(int by_exit, int *ran);

/*
 * posix_stream writes a line to a stream of fd, forks, and has the child flush it, or
 * not, before the parent does.
 */
int posix_stream(int fd, int child_flushes);

/*
 * posix_directory reads one name of the directory path by a stream, forks, and sets
 * *in_child and *in_parent to how many names each process reads then, the child
 * first.
 */
int posix_directory(const char *path, int *in_child, int *in_parent);

/*
 * posix_thread sets *kept to whether the child has the value that the thread had in
 * thread-local memory, and its pthread_t.
 */
int posix_thread(int *kept);

/*
 * posix_malloc forks while another thread resizes memory of the caller's heap over and
 * over, and returns the child's pid: unlike the others it doesn't wait. The child
 * allocates memory, or uses some that was there before, and exits with the status.
 */
int posix_malloc(int how, int allocate, int status);

#endif
