//go:build cgo && (amd64 || arm64)

package lock_test

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/forktest"
	"rawfork/lock"
)

func TestMain(m *testing.M) { forktest.Main(m, nil) }

// ways are the locks on a file, as one function of the descriptor and of what to do.
var ways = map[string]func(fd int, how int) syscall.Errno{
	"flock": flock,
	"OFD":   ofd,
}

const (
	take = iota
	try
	give
)

//go:nosplit
//go:norace
func flock(fd, how int) syscall.Errno {
	switch how {
	case take:
		return lock.Flock(fd, unix.LOCK_EX)
	case try:
		return lock.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	return lock.Flock(fd, unix.LOCK_UN)
}

//go:nosplit
//go:norace
func ofd(fd, how int) syscall.Errno {
	switch how {
	case take:
		return lock.OFD(fd, unix.F_WRLCK, true)
	case try:
		return lock.OFD(fd, unix.F_WRLCK, false)
	}
	return lock.OFD(fd, unix.F_UNLCK, false)
}

func file(t *testing.T) (fd int) {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

// holder forks a child that opens the file anew, takes its lock, says so, and holds it.
func holder(t *testing.T, fd int, way func(int, int) syscall.Errno) (pid int) {
	path := lock.PrepareReopen(fd)
	read, write := pipe(t)
	ready := int(write.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		own, errno := lock.Reopen(path)
		child.KeepOnly(0, 1, 2, own, ready) // the parent's description has no part in it
		if errno != 0 || way(own, take) != 0 {
			child.Exit(1)
		}
		child.WriteString(ready, "x")
		for {
			child.Pause()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	if n, err := read.Read(make([]byte, 1)); n != 1 {
		forktest.Wait(t, pid)
		t.Fatalf("the child has no lock: %v", err)
	}
	return pid
}

// A child's lock keeps the parent out until the child is killed.
func TestFileLocks(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			fd := file(t)
			pid := holder(t, fd, way)
			if errno := way(fd, try); errno != syscall.EAGAIN {
				t.Errorf("while a child has the lock: %v, want EAGAIN", errno)
			}
			got := make(chan syscall.Errno)
			go func() { got <- way(fd, take) }()
			syscall.Kill(pid, syscall.SIGKILL)
			if errno := <-got; errno != 0 {
				t.Errorf("when it was killed: %v", errno)
			}
			forktest.WantSignal(t, pid, syscall.SIGKILL)
			if errno := way(fd, give); errno != 0 {
				t.Errorf("unlock: %v", errno)
			}
			if errno := way(-1, take); errno != syscall.EBADF {
				t.Errorf("no descriptor: %v, want EBADF", errno)
			}
		})
	}
}

func mutex(t *testing.T) *lock.Mutex {
	t.Helper()
	m, err := lock.NewMutex(8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Children and goroutines count up together, by steps that anybody else could get in
// between of.
func TestMutexExcludes(t *testing.T) {
	const children, goroutines, steps = 3, 3, 500
	m := mutex(t)
	counter := (*uint64)(unsafe.Pointer(&m.Data()[0]))
	var pids []int
	for range children {
		pid, err := rawfork.Fork()
		if pid == 0 {
			for range steps {
				died, errno := m.LockInChild()
				if died || errno != 0 {
					child.Exit(1)
				}
				v := *counter
				child.Sleep(0) // somebody else's turn
				*counter = v + 1
				m.UnlockInChild()
			}
			child.Exit(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range steps {
				if died, err := m.Lock(); died || err != nil {
					t.Errorf("Lock: %v, %v", died, err)
				}
				binary.NativeEndian.PutUint64(m.Data(), binary.NativeEndian.Uint64(m.Data())+1)
				if err := m.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, pid := range pids {
		forktest.WantExit(t, pid, 0)
	}
	if want := uint64((children + goroutines) * steps); *counter != want {
		t.Errorf("counter %d, want %d", *counter, want)
	}
}

// A holder that is killed gives the mutex back, and who takes it next is told.
func TestMutexOfTheDead(t *testing.T) {
	m := mutex(t)
	read, write := pipe(t)
	ready := int(write.Fd())
	pid, err := rawfork.Fork()
	if pid == 0 {
		m.LockInChild()
		child.WriteString(ready, "x")
		for {
			child.Pause()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.TryLock(); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("while a child has it: %v, want EAGAIN", err)
	}
	type result struct {
		died bool
		err  error
	}
	got := make(chan result)
	go func() { died, err := m.Lock(); got <- result{died, err} }()
	syscall.Kill(pid, syscall.SIGKILL)
	if r := <-got; !r.died || r.err != nil {
		t.Errorf("when it was killed: %+v, want died", r)
	}
	forktest.WantSignal(t, pid, syscall.SIGKILL)
	if _, err := m.TryLock(); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("by another goroutine: %v, want EAGAIN", err)
	}
	if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	if died, err := m.TryLock(); died || err != nil {
		t.Errorf("after an Unlock: %v, %v", died, err)
	}
	m.Unlock()
}

func TestBadSize(t *testing.T) {
	if _, err := lock.NewMutex(-1); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v, want EINVAL", err)
	}
}
