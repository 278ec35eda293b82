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

/* What a process that called clone(2) sees of it, and of what the new one did. */
struct posix_cloned {
	int memory;     /* it has what the new one wrote to its own variable */
	int mapping;    /* it still has a page that the new one unmapped */
	int handler;    /* it ignores a signal that the new one ignores */
	int mask;       /* it has the mask that the new one set */
	int same_pid;   /* getpid says the same in both */
	int same_tid;   /* gettid says the same in both */
	int parent;     /* of the new one: 1 the process itself, 2 that one's parent, 0 another */
	int wait;       /* the errno of a wait for the new one when it has ended, 0 for none */
	int cleared;    /* of a thread: the kernel cleared the word that was to say its end */
	int held;       /* clone returned only when the new one was about to end */
};

/*
 * posix_clone forks a process of one thread, and has that one call clone(2) with the
 * flags, whose low byte is the signal that the end sends. The new one has a stack of
 * its own. It writes a byte to the descriptor out, waits for a byte, or the end, of the
 * descriptor in, does what struct posix_cloned lists, and ends. Then the first process
 * writes a struct to out and ends itself, with the exit status 0; or with an errno, and
 * without a struct, if something failed. Returns its pid; the caller reaps it.
 *
 * Both processes have all signals blocked and no descriptors but in and out.
 */
int posix_clone(unsigned long flags, int in, int out);

#endif
