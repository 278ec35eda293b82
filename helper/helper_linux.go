//go:build cgo && (amd64 || arm64)

package helper

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/byhelper"
)

// Helper is a running helper process. Its methods may be called from any number of
// goroutines at once.
type Helper struct {
	pid     int
	options Options
	conn    *conn
	starts  *starts
	born    *born // memory that is shared with the helper; gone with starts

	dir syscall.Stat_t // the helper's working directory
	env []string       // the helper's environment

	state      atomic.Pointer[state] // what the helper's children inherit from it
	seen       atomic.Pointer[look]  // the last caller of ForkExec
	limits     allLimits             // the helper's own
	limitsText string                // the same, as /proc tells them

	exited chan struct{} // closed when the process is reaped
	done   chan struct{} // closed when all that was the helper's is reaped

	mu      sync.Mutex
	closed  bool
	waiting map[int]bool  // pids of children that wait for a task; true: booted
	boot    chan struct{} // closed, and made anew, when one of them has booted
	lost    sync.WaitGroup
}

// programArgs are the program's arguments as it was started with.
var programArgs = append([]string(nil), os.Args...)

var running struct {
	sync.Mutex
	helper *Helper
}

// Start starts the helper: the program's own image (/proc/self/exe), once more,
// which a constructor in C turns into a single-threaded server before the Go
// runtime comes up. It returns when the helper is ready to serve.
//
// A program has one helper at a time: ErrStarted says that there is one. ErrNoInit
// says that Init was not called. The helper ends with the program, however that
// ends, and by [Helper.Close].
//
// Precondition: none. The helper is the child of a thread that the first Start makes
// and that never ends, so nothing that follows the death of a thread reaches it.
func Start(options Options) (*Helper, error) {
	if options.Ready < 0 || options.Ready > maxReady {
		return nil, fmt.Errorf("helper start: Ready %d is not in 0 to %d: %w", options.Ready, maxReady, syscall.EINVAL)
	}
	if err := checkLimit(options.Ready); err != nil {
		return nil, fmt.Errorf("helper start: %w", err)
	}
	if !isInitialised() {
		return nil, fmt.Errorf("helper start: %w", ErrNoInit)
	}
	running.Lock()
	defer running.Unlock()
	if running.helper != nil && !running.helper.ended() {
		return nil, fmt.Errorf("helper start: %w (pid %d)", ErrStarted, running.helper.pid)
	}
	h, err := start(options)
	if err != nil {
		return nil, fmt.Errorf("helper start: %w", err)
	}
	running.helper = h
	byhelper.Set(h.ForkExec)
	return h, nil
}

// reserve is how many descriptors the helper needs beside those of waiting children:
// its own, those that come with one request, and those of one fork.
const reserve = 300

// checkLimit tells whether the helper may have the descriptors of its waiting
// children: it raises its soft limit itself.
func checkLimit(ready int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if ready > 0 && uint64(ready+reserve) > limit.Max {
		return fmt.Errorf("%d ready children need %d descriptors, the hard limit is %d: %w", ready, ready+reserve, limit.Max, syscall.EMFILE)
	}
	return nil
}

// start makes the process and greets it.
func start(options Options) (*Helper, error) {
	h := &Helper{
		options: options,
		env:     os.Environ(),
		exited:  make(chan struct{}),
		done:    make(chan struct{}),
		waiting: make(map[int]bool),
		boot:    make(chan struct{}),
	}
	if err := syscall.Stat(".", &h.dir); err != nil {
		return nil, fmt.Errorf("stat working directory: %w", err)
	}
	pair, err := socketpair()
	if err != nil {
		return nil, err
	}
	startsPair, err := socketpair()
	if err != nil {
		closeAll(pair[:])
		return nil, err
	}
	memory, memoryFD, err := mapBorn()
	if err != nil {
		closeAll(append(pair[:], startsPair[:]...))
		return nil, err
	}
	hello := make([]byte, nonceLen+8)
	rand.Read(hello[:nonceLen])
	binary.NativeEndian.PutUint32(hello[nonceLen:], uint32(options.Ready))
	mark := fmt.Sprintf("%s=3:%s", markName, hex.EncodeToString(hello[:nonceLen]))
	err = os.NewSyscallError("fcntl", unix.SetNonblock(pair[0], true)) // for the Go runtime's poller
	if err == nil {
		err = h.exec(append(h.env, mark), pair[1])
	}
	unix.Close(pair[1])
	defer closeAll([]int{startsPair[1], memoryFD})
	if err != nil {
		closeAll([]int{pair[0], startsPair[0]})
		unix.Munmap(memory)
		return nil, err
	}
	h.born = answers(memory)
	h.conn = newConn(pair[0], h.hear)
	h.starts = newStarts(startsPair[0], memory, func(pid int) { h.hear(typeReply, pid) })
	go h.reap()
	if r := h.conn.request(typeHello, hello, []int{memoryFD, startsPair[1]}); r.err != nil {
		h.Close()
		return nil, fmt.Errorf("greeting: %w", r.err)
	}
	if err := h.remember(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// socketpair makes a connection: our end and the helper's.
func socketpair() (pair [2]int, err error) {
	pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	return pair, os.NewSyscallError("socketpair", err)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// starter is a thread that starts helpers and never ends: what follows the death of
// the thread that forked, as the signal of Pdeathsig does, follows the program's.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// exec starts the process with sock as its descriptor 3.
func (h *Helper) exec(env []string, sock int) error {
	files := []uintptr{0, 1, 2, uintptr(sock)}
	for fd := range files[:3] {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			files[fd] = ^uintptr(0) // closed here, /dev/null there
		}
	}
	started := make(chan error)
	starter() <- func() {
		var err error
		h.pid, err = syscall.ForkExec("/proc/self/exe", programArgs, &syscall.ProcAttr{Env: env, Files: files})
		started <- err
	}
	if err := <-started; err != nil {
		return &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: err}
	}
	go func() {
		rawfork.Wait(h.pid)
		close(h.exited)
	}()
	return nil
}

// hear takes what the helper says, before a reply reaches who waits for it.
func (h *Helper) hear(kind uint16, pid int) {
	h.born.know(pid)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch kind {
	case typeWaiting:
		h.waiting[pid] = false
	case typeBooted:
		h.waiting[pid] = true
		close(h.boot)
		h.boot = make(chan struct{})
	case typeReply:
		delete(h.waiting, pid) // it has a task now
	case typeLost:
		delete(h.waiting, pid)
		h.lost.Add(1)
		go func() {
			defer h.lost.Done()
			rawfork.Wait(pid) // it has ended, or is about to
		}()
	}
}

// reap waits for the helper's end and cleans up after it: it reaps the helper and
// the children that waited for a task.
func (h *Helper) reap() {
	<-h.exited
	if h.isClosed() {
		// A helper that ends by itself has no child on its way to exec. A child of
		// Fork may have a copy of its socket, so the end may not show here.
		h.conn.close()
	}
	<-h.conn.ended
	// The child that the helper had made when it was killed, but not told us of. It has
	// ended, or is about to: it goes on only when the helper says so, after it has told us.
	if pid := h.born.unknown(); pid > 0 {
		rawfork.Wait(pid)
	}
	h.starts.end()
	h.mu.Lock()
	waiting := h.waiting
	h.waiting = nil
	h.mu.Unlock()
	for pid := range waiting {
		syscall.Kill(pid, syscall.SIGKILL)
		rawfork.Wait(pid)
	}
	h.lost.Wait()
	close(h.done)
}

// WaitReady returns when [Options].Ready children wait for a task and have booted. A
// request takes one of them, and another is made and booted in its place. Requests are
// served as well before; one that finds no booted child has one made that must boot.
//
// Errors: that of ctx, ErrClosed and ErrEnded. When three children in a row have died
// before they had booted, no more are made before the next request, and it may be only
// ctx that ends the wait.
func (h *Helper) WaitReady(ctx context.Context) error {
	for {
		h.mu.Lock()
		booted, change := 0, h.boot
		for _, is := range h.waiting {
			if is {
				booted++
			}
		}
		h.mu.Unlock()
		if err := h.Err(); err != nil {
			return fmt.Errorf("helper wait for ready children: %w", err)
		}
		if booted >= h.options.Ready {
			return nil
		}
		select {
		case <-change:
		case <-h.exited:
		case <-ctx.Done():
			return fmt.Errorf("helper wait for ready children: %w", ctx.Err())
		}
	}
}

// ended tells whether nothing of the helper is left.
func (h *Helper) ended() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// Pid returns the pid of the helper process.
func (h *Helper) Pid() int { return h.pid }

// Err tells why a call would fail now: ErrClosed, ErrEnded, or nil. The helper can end
// at any time, so a nil is no promise.
func (h *Helper) Err() error {
	if h.isClosed() {
		return ErrClosed
	}
	select {
	case <-h.exited:
		return ErrEnded
	default:
		return nil
	}
}

// Close ends the helper and its waiting children and reaps them. Running children
// live on, unless Options.EndWithParent was set: nobody would be left to keep that
// promise, so they are ended. Calls that are under way and later ones return ErrClosed,
// if the helper hasn't served them. A second Close does nothing.
func (h *Helper) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.conn.shutdown()
	<-h.done
	return nil
}

// Go runs the registered function of that name in a child: a whole Go program,
// with exactly these files and 0, 1 and 2 open. It returns when the child exists;
// the function may not have begun. The child is the caller's own, to be waited for
// by the Wait of the process that is returned, which gives the function's result as
// the exit code. A panic in it is printed and gives 2.
//
// The working directory and the environment are those of this call, all else is as
// the program had it at [Start].
//
// Ownership: the files stay the caller's; the child has descriptors of its own, of
// the same open file descriptions.
//
// Errors: ENOENT for a name that isn't registered here, EINVAL for a nil file,
// [os.ErrClosed] for a closed one, E2BIG for more than 253 files (252 where the
// working directory is no longer that of Start, since it takes one),
// ErrClosed, ErrEnded, and the errno of a fork that failed in the helper; then the
// next call may succeed.
func (h *Helper) Go(name string, files ...*os.File) (*os.Process, error) {
	process, err := h.goChild(name, files)
	if err != nil {
		return nil, fmt.Errorf("helper go %s: %w", shorten(name), err)
	}
	return process, nil
}

func (h *Helper) goChild(name string, files []*os.File) (*os.Process, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if registered(name) == nil {
		return nil, fmt.Errorf("no function is registered by that name: %w", syscall.ENOENT)
	}
	if h.isClosed() {
		return nil, ErrClosed
	}
	request := goRequest{name: name}
	if h.options.EndWithParent {
		request.flags |= goEnd
	}
	if env := os.Environ(); !slices.Equal(env, h.env) {
		request.hasEnv, request.env = true, env
	}
	var process *os.Process
	err := withFDs(files, nil, func(fds []int) error {
		dir, err := h.changedDir()
		if err != nil {
			return err
		}
		if dir >= 0 {
			defer unix.Close(dir)
			request.flags |= goDir
			fds = append(fds, dir)
		}
		process, err = h.child(typeGo, request.encode(), fds)
		return err
	})
	return process, err
}

// child asks for a child and makes it the program's.
func (h *Helper) child(kind uint16, body []byte, fds []int) (*os.Process, error) {
	r := h.conn.request(kind, body, fds)
	if r.err != nil {
		if r.pid > 0 {
			rawfork.Wait(r.pid)
		}
		return nil, h.orClosed(r.err)
	}
	return os.FindProcess(r.pid) // always succeeds for a child that isn't reaped
}

// orClosed tells a helper that was closed from one that ended by itself.
func (h *Helper) orClosed(err error) error {
	if err == ErrEnded && h.isClosed() {
		return ErrClosed
	}
	return err
}

func (h *Helper) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// changedDir opens the working directory if it isn't the helper's any more, and
// returns -1 if it is.
func (h *Helper) changedDir() (fd int, err error) {
	var now syscall.Stat_t
	if err := syscall.Stat(".", &now); err != nil {
		return -1, fmt.Errorf("stat working directory: %w", err)
	}
	if now.Dev == h.dir.Dev && now.Ino == h.dir.Ino {
		return -1, nil
	}
	fd, err = unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open working directory: %w", err)
	}
	return fd, nil
}

// withFDs calls use with the descriptors of files, all of which stay open until it
// returns, and of those in fds.
func withFDs(files []*os.File, fds []int, use func(fds []int) error) error {
	if len(files) == 0 {
		return use(fds)
	}
	if files[0] == nil {
		return fmt.Errorf("file %d is nil: %w", len(fds), syscall.EINVAL)
	}
	return rawfork.WithFD(files[0], func(fd int) error {
		return withFDs(files[1:], append(fds, fd), use)
	})
}

// shorten makes a name fit into a message.
func shorten(name string) string {
	if len(name) > 64 {
		return strconv.Quote(name[:64]) + "..."
	}
	return strconv.Quote(name)
}
