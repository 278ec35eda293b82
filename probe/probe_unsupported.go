//go:build !(linux && (amd64 || arm64))

package probe

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"rawfork/procstate"
)

// Where there is no fork there is no probe: these are here so that programs build.
// What can fail returns errors.ErrUnsupported. Left out are the methods whose types
// golang.org/x/sys/unix has for linux alone.

var none = fmt.Errorf("probe: %w", errors.ErrUnsupported)

// DefaultTimeout is how long a call may take.
const DefaultTimeout = 30 * time.Second

// Probe is a child that does what its parent says. There are none here.
type Probe struct{}

// Fork forks a child that serves this process, on linux/amd64 and linux/arm64.
// Here it returns [errors.ErrUnsupported].
func Fork() (*Probe, error) { return nil, none }

// Fork wraps fork(2) in the child on linux.
func (p *Probe) Fork() (*Probe, error) { return nil, none }

// Clone wraps clone(2) in the child on linux.
func (p *Probe) Clone(flags uint64) (*Probe, error) { return nil, none }

// Pid is the child's pid on linux, 0 here.
func (p *Probe) Pid() int { return 0 }

// Parent is the probe that forked this one on linux, nil here.
func (p *Probe) Parent() *Probe { return nil }

// SetTimeout says on linux how long a call may take.
func (p *Probe) SetTimeout(d time.Duration) {}

// Close ends and reaps the child on linux.
func (p *Probe) Close() error { return nil }

// Call is a request that is under way in the child.
type Call struct{}

// Syscall makes a system call in the child on linux.
func (p *Probe) Syscall(trap uintptr, args ...any) (uintptr, error) { return 0, none }

// Start begins a system call in the child on linux.
func (p *Probe) Start(trap uintptr, args ...any) *Call { return &Call{} }

// Wait waits for the call's end on linux.
func (c *Call) Wait() (uintptr, error) { return 0, none }

// Blocked waits until the call blocks on linux.
func (c *Call) Blocked() error { return none }

// Load reads a variable of the child's on linux.
func Load[T any](p *Probe, v *T) (T, error) { return *new(T), none }

// Store sets a variable of the child's on linux.
func Store[T any](p *Probe, v *T, value T) error { return none }

// Addr is the address of *v.
func Addr[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// Peek reads memory of the child's on linux.
func (p *Probe) Peek(addr uintptr, n int) ([]byte, error) { return nil, none }

// Poke writes to memory of the child's on linux.
func (p *Probe) Poke(addr uintptr, b []byte) error { return none }

// Mmap wraps mmap(2) in the child on linux.
func (p *Probe) Mmap(length, prot, flags, fd int) (uintptr, error) { return 0, none }

// DeadError is what a call to a child gives that has ended.
type DeadError struct {
	Pid    int
	Status syscall.WaitStatus
	Known  bool // whether Status says how it ended
}

// Error says that the child is dead.
func (e *DeadError) Error() string { return fmt.Sprintf("child %d is dead", e.Pid) }

// Wait reaps the child on linux.
func (p *Probe) Wait() (syscall.WaitStatus, error) { return *new(syscall.WaitStatus), none }

// Exit wraps exit_group(2) in the child on linux.
func (p *Probe) Exit(code int) error { return none }

// Exec wraps execve(2) in the child on linux.
func (p *Probe) Exec(path string, argv, env []string) error { return none }

// Kill sends the child a signal on linux.
func (p *Probe) Kill(sig syscall.Signal) error { return none }

// Raise has the child send itself a signal on linux.
func (p *Probe) Raise(sig syscall.Signal) error { return none }

// Read wraps read(2) in the child on linux.
func (p *Probe) Read(fd int, b []byte) (int, error) { return -1, none }

// Write wraps write(2) in the child on linux.
func (p *Probe) Write(fd int, b []byte) (int, error) { return -1, none }

// CloseFd wraps close(2) in the child on linux.
func (p *Probe) CloseFd(fd int) error { return none }

// KeepOnly closes all other descriptors of the child's on linux.
func (p *Probe) KeepOnly(fds ...int) error { return none }

// Getpid wraps getpid(2) in the child on linux.
func (p *Probe) Getpid() (int, error) { return 0, none }

// Getppid wraps getppid(2) in the child on linux.
func (p *Probe) Getppid() (int, error) { return 0, none }

// State reads the child's state from /proc on linux.
func (p *Probe) State() (*procstate.State, error) { return nil, none }

// Self reads this process's state from /proc on linux.
func Self() (*procstate.State, error) { return nil, none }
