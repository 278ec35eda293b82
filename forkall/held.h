/*
 * held.h - what the C files of this package share: a thread that is held, and
 * the parts of a process that its child must be given.
 */
#ifndef FORKALL_HELD_H
#define FORKALL_HELD_H

#include <stddef.h>

#include "forkall.h"
#include "raw.h"

#define NAME_SIZE 16
#define AFFINITY_WORDS 16 /* 1,024 processors; with more, affinity isn't kept */

/*
 * struct thread is a thread as its copy will be made. It lives in the frame of
 * the handler that holds the thread, and so in the child's copy of that stack.
 */
struct thread {
	int tid;       /* in the process where it is held; then in the child */
	int index;     /* in threads */
	void *context; /* the stack pointer at which rt_sigreturn resumes it */
	uint32_t try;  /* see hold.c */
	_Atomic uint32_t *gate;
	uintptr_t tls;
	int *tid_address; /* where libc keeps its id, and where its end is seen */
	uintptr_t m; /* Go's runtime.m, or 0 for a thread that Go doesn't know */
	long affinity_size;
	unsigned long affinity[AFFINITY_WORDS];
	char name[NAME_SIZE];
};

/* threads are all threads that are held; the group's leader is the first. */
extern struct thread **threads;
extern int thread_count;

/* hold.c */
int hold_install(void);
long hold_and_fork(const struct forkall_cut *cut, uint64_t limit, const char **why, struct forkall_stats *stats);
void hold_wait(const struct thread *self);

/* thread.c */
int thread_look(const char **why);
void thread_record(struct thread *self, int tid, void *context);
int thread_known(const struct thread *thread);
long thread_fork(struct thread *leader);
void thread_make_all(void);

/* thread_amd64.S */
long forkall_clone(unsigned long flags, struct thread *thread, int *parent_tid, int *child_tid, uintptr_t tls);
void forkall_restorer(void);
void forkall_thread_start(struct thread *self); /* in thread.c */

/* runtime.c */
int runtime_find(const char **why);
int runtime_read(uintptr_t address, void *to, size_t size);
uintptr_t runtime_m(uintptr_t tls);
int runtime_settled(const struct thread *thread);
void runtime_mend(const struct thread *thread);
int linker_busy(void);

/* descriptors.c */
int descriptors_prepare(const char **why);
void descriptors_finish(void);
int descriptors_read(const char **why, struct forkall_stats *stats);
void descriptors_make_way(void);
void descriptors_give_way(void);
void descriptors_rebuild(const struct forkall_cut *cut);

/* timers.c */
int timers_read(const char **why);
void timers_make(void);

/* proc.c */
void *proc_reserve(size_t size);
int proc_each_number(const char *directory, int of_descriptors, int (*use)(int number));
int proc_count_tasks(void);
int proc_open(const char *directory, int number);
int proc_each_line(int fd, int (*use)(const char *line));
const char *proc_after(const char *line, const char *word);
const char *proc_number(const char *text, unsigned base, uint64_t *value);

#endif
