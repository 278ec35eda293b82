//go:build linux

#define _GNU_SOURCE
#include "mutex.h"

#include <stdlib.h>

pthread_mutex_t *mutex_new(int recursive)
{
	pthread_mutex_t *mutex = malloc(sizeof *mutex);
	pthread_mutexattr_t attributes;

	if (mutex == NULL)
		return NULL;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
	pthread_mutex_init(mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return mutex;
}

void mutex_free(pthread_mutex_t *mutex)
{
	pthread_mutex_destroy(mutex);
	free(mutex);
}
