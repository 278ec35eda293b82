//go:build !(linux && (amd64 || arm64))

package lock

import (
	"errors"
	"fmt"
	"syscall"
)

// Flock always returns ENOSYS here.
func Flock(fd, how int) syscall.Errno { return syscall.ENOSYS }

// OFD always returns ENOSYS here.
func OFD(fd int, kind int16, wait bool) syscall.Errno { return syscall.ENOSYS }

// Reopen always returns ENOSYS here.
func Reopen(path *byte) (fd int, errno syscall.Errno) { return -1, syscall.ENOSYS }

// PrepareReopen returns nil here.
func PrepareReopen(fd int) *byte { return nil }

// Mutex is a mutual exclusion between processes on linux. Here none can be made.
type Mutex struct{}

// NewMutex always returns [errors.ErrUnsupported] here.
func NewMutex(size int) (*Mutex, error) { return nil, unsupported() }

// FD returns -1 here.
func (m *Mutex) FD() int { return -1 }

// Data returns nil here.
func (m *Mutex) Data() []byte { return nil }

// Close does nothing here.
func (m *Mutex) Close() error { return nil }

// Lock always returns [errors.ErrUnsupported] here.
func (m *Mutex) Lock() (died bool, err error) { return false, unsupported() }

// TryLock always returns [errors.ErrUnsupported] here.
func (m *Mutex) TryLock() (died bool, err error) { return false, unsupported() }

// Unlock always returns [errors.ErrUnsupported] here.
func (m *Mutex) Unlock() error { return unsupported() }

// LockInChild always returns ENOSYS here.
func (m *Mutex) LockInChild() (died bool, errno syscall.Errno) { return false, syscall.ENOSYS }

// UnlockInChild always returns ENOSYS here.
func (m *Mutex) UnlockInChild() syscall.Errno { return syscall.ENOSYS }

func unsupported() error { return fmt.Errorf("mutex: %w", errors.ErrUnsupported) }
