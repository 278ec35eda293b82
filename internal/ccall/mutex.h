/* mutex.h - locks of C. */
#ifndef RAWFORK_CCALL_MUTEX_H
#define RAWFORK_CCALL_MUTEX_H

#include <pthread.h>

/*
 * mutex_new makes a mutex, a recursive one that remembers its owner's thread id,
 * or a normal one. NULL: there is no memory. mutex_free frees it, unlocked.
 */
pthread_mutex_t *mutex_new(int recursive);
void mutex_free(pthread_mutex_t *mutex);

#endif
