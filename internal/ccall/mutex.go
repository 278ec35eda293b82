//go:build linux && cgo

package ccall

// #include "mutex.h"
import "C"

import "syscall"

// Mutex is a lock of libc's, to be used by one thread.
type Mutex struct{ mutex *C.pthread_mutex_t }

// NewMutex makes a mutex: a recursive one, which remembers its owner's thread id, or
// a normal one.
func NewMutex(recursive bool) (Mutex, error) {
	kind := C.int(0)
	if recursive {
		kind = 1
	}
	m := Mutex{C.mutex_new(kind)}
	if m.mutex == nil {
		return m, syscall.ENOMEM
	}
	return m, nil
}

// Lock wraps pthread_mutex_lock(3).
func (m Mutex) Lock() error { return mutexError(C.pthread_mutex_lock(m.mutex)) }

// Unlock wraps pthread_mutex_unlock(3).
func (m Mutex) Unlock() error { return mutexError(C.pthread_mutex_unlock(m.mutex)) }

// Free frees the mutex, which must be unlocked.
func (m Mutex) Free() { C.mutex_free(m.mutex) }

func mutexError(e C.int) error {
	if e == 0 {
		return nil
	}
	return syscall.Errno(e)
}
