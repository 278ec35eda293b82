// Package lock has locks between processes that the kernel takes back when their
// holder dies, however that dies.
//
//	m, err := lock.NewMutex(8)  // before the fork
//	...
//	died, err := m.Lock()       // in the parent; m.LockInChild() in the child
//	if died { ... }             // the holder before died with the lock: mend m.Data()
//	m.Data()[0]++
//	m.Unlock()
//
// [Flock] and [OFD] lock a file for an open file description: a forked child shares
// the parent's, and its lock; [Reopen] gives it one of its own. A [Mutex] belongs to a
// process. All may be called in the child of rawfork.Fork, where their names or
// comments say so.
//
// # Why Mutex is no futex
//
// The usual robust mutex, PTHREAD_MUTEX_ROBUST, belongs to a thread: the kernel goes
// through the list of locks of each thread that ends, and only the locker's thread may
// unlock. A goroutine changes threads between Lock and Unlock, and a thread of Go may
// end while the program lives. The list itself belongs to libc, of which nothing may be
// called in the child. A record lock, fcntl(F_SETLKW), belongs to the process: any
// thread may unlock, a forked child doesn't inherit it, and the kernel takes it back at
// the end of the process and wakes who waits. The kernel also takes it back when the
// process closes any descriptor of the file: see [Mutex.FD]. It costs a system call where a futex
// that nobody else wants costs none.
package lock
