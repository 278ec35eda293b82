//go:build linux

#include "ccall.h"

#include <pthread.h>

#include "_cgo_export.h"

void ccall_here(uintptr_t handle)
{
	ccallGo(handle);
}

static void *thread(void *handle)
{
	ccall_here(*(uintptr_t *)handle);
	return NULL;
}

int ccall_thread(uintptr_t handle)
{
	pthread_t id;
	int err = pthread_create(&id, NULL, thread, &handle);

	return err != 0 ? err : pthread_join(id, NULL);
}
