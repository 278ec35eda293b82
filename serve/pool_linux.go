//go:build cgo && (amd64 || arm64)

package serve

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/internal/rawcall"
	"rawfork/reap"
)

// poolState is what a Pool needs while it serves.
type poolState struct {
	once     sync.Once
	stopping chan struct{} // closed by Shutdown
	done     chan struct{} // closed when no child is left
	reloads  chan chan error
	changed  chan struct{} // gets one when a child has ended

	mu        sync.Mutex
	started   bool
	listeners []net.Listener
	reaper    *reap.Reaper
	sources   []int // duplicates of the listeners' descriptors
	current   *generation
	members   map[int]*member
	exits     []reap.Exit    // that manage hasn't seen
	sent      syscall.Signal // to all children, the last one; 0 before the shutdown's end
	counts    PoolCounts

	// Of manage alone:
	places []*place // that are free
	memory []byte
	tokens float64 // for children in place of those that died
	filled time.Time
	wake   int // an eventfd, for handOver: a generation has been stopped, or accepting is to be
}

// generation is the children that one start or reload has made.
type generation struct {
	number    int
	stopping  *uint64 // shared with the children
	members   int     // that have not been reaped
	missing   []int   // the seats that nobody sits on
	children  int     // the descriptor that its children have: see seat.stop
	ours      int     // the other end, until isStopped
	isStopped bool
}

// member is a child.
type member struct {
	generation *generation
	seat       int
	place      *place
	child      *reap.Child
}

// A child that dies is replaced at once, but in the long run not more often than
// deathsPerSecond times in a second; a burst may be as large as the pool.
const deathsPerSecond = 10

func (p *Pool) init() {
	p.state.once.Do(func() {
		s := &p.state
		s.stopping, s.done = make(chan struct{}), make(chan struct{})
		s.reloads, s.changed = make(chan chan error), make(chan struct{}, 1)
		s.members = make(map[int]*member)
		s.counts.Exits = make(map[syscall.WaitStatus]int)
		if p.Log == nil {
			p.Log = slog.New(slog.DiscardHandler)
		}
		if p.Grace == 0 {
			p.Grace = 5 * time.Second
		}
	})
}

// Serve forks the children and serves until Shutdown is called; then it returns
// ErrServerClosed, with no child left. With several listeners, as of
// [ListenReusePort], the children are dealt out among them. When the children can't
// be forked at the start, the error is the fork's. Later Serve logs that, waits, and
// tries again.
//
// Ownership: the listeners are the pool's until Serve returns. Nobody else may accept
// from them, and would wait for ever: Serve takes them out of package net's poller, which
// would wake this process for each connection that a child accepts. Shutdown closes them;
// they stay the caller's, as they were, when Serve returns another error. One that
// somebody else closes is served on, from a duplicate.
func (p *Pool) Serve(listeners ...net.Listener) error {
	p.init()
	if err := p.Check(listeners...); err != nil {
		return err
	}
	s := &p.state
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return fmt.Errorf("pool: it was started before: %w", syscall.EINVAL)
	}
	if isClosed(s.stopping) {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.started, s.listeners = true, listeners
	s.mu.Unlock()

	result := make(chan error)
	go func() {
		// The kernel kills the children when the thread that forked them ends: this one
		// stays until there are none.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.manage()
		close(s.done)
		result <- err
	}()
	return <-result
}

// manage is the pool's life: all forks are its.
func (p *Pool) manage() (err error) {
	s := &p.state
	const perGeneration = 8 // bytes, for its stopping
	size := 16*maxPool + 4096*perGeneration
	if s.memory, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("pool: %w", os.NewSyscallError("mmap", err))
	}
	defer unix.Munmap(s.memory)
	for i := range 2 * maxPool {
		s.places = append(s.places, (*place)(unsafe.Pointer(&s.memory[8*i])))
	}
	reaper, err := reap.New(reap.Options{OnExit: p.ended})
	if err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	defer reaper.Close()
	s.reaper = reaper
	s.tokens, s.filled = float64(p.Children), time.Now()

	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("pool: %w", os.NewSyscallError("eventfd2", err))
	}
	defer rawcall.Close(s.wake)
	defer p.closeSources()
	if err := p.openSources(); err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	first, err := p.generate(0)
	if err != nil {
		p.drain()
		return fmt.Errorf("pool: %w", err)
	}
	s.mu.Lock()
	s.current = first
	s.mu.Unlock()
	for _, listener := range s.listeners {
		rawfork.WithFD(listener, leaveToChildren) // one that is closed is watched by nobody
	}
	accepted := make(chan struct{})
	if p.HandOver {
		go func() { defer close(accepted); p.handOver() }()
	} else {
		close(accepted)
	}
	p.run()
	for _, listener := range s.listeners {
		listener.Close()
	}
	rawcall.Add(s.wake)
	p.handOverRest(accepted)
	p.stopGeneration(s.current)
	p.drain()
	return ErrServerClosed
}

// openSources makes the duplicates of the listeners.
func (p *Pool) openSources() error {
	for _, listener := range p.state.listeners {
		err := rawfork.WithFD(listener, func(fd int) error {
			handDown(fd)
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err == nil {
				p.state.sources = append(p.state.sources, own)
			}
			return os.NewSyscallError("fcntl", err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) closeSources() {
	for _, source := range p.state.sources {
		rawcall.Close(source)
	}
}

// handOverRest waits until the connections that were accepted have been handed over,
// as long as there are children to take them.
func (p *Pool) handOverRest(accepted chan struct{}) {
	for {
		p.bury()
		if p.Counts().Children == 0 {
			p.stopGeneration(p.state.current) // and wakes send
			<-accepted
			return
		}
		select {
		case <-accepted:
			return
		case <-p.state.changed:
		}
	}
}

// run keeps the pool full until the shutdown.
func (p *Pool) run() {
	s := &p.state
	var back time.Duration      // how long to wait after a fork that failed
	for !isClosed(s.stopping) { // select takes any case that is ready
		again := p.refill(&back)
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-s.changed:
			p.bury()
		case <-timer: // for refill
		case reply := <-s.reloads:
			reply <- p.reload()
		case <-s.stopping:
			return
		}
	}
}

// drain waits until no child is left.
func (p *Pool) drain() {
	for {
		p.bury()
		if p.Counts().Children == 0 {
			return
		}
		<-p.state.changed
	}
}

// generate makes a generation with all its children, or none.
func (p *Pool) generate(number int) (g *generation, err error) {
	g = &generation{number: number, children: -1, ours: -1}
	var pair [2]int
	if p.HandOver {
		pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	} else {
		err = unix.Pipe2(pair[:], unix.O_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	g.children, g.ours = pair[0], pair[1]
	g.stopping = (*uint64)(unsafe.Pointer(&p.state.memory[16*maxPool+8*(number%4096)]))
	atomic.StoreUint64(g.stopping, 0)
	for seat := range p.Children {
		if err := p.fork(g, seat); err != nil {
			p.stopGeneration(g)
			p.release(g)
			return nil, err
		}
	}
	return g, nil
}

// fork makes the child of a seat.
func (p *Pool) fork(g *generation, number int) error {
	s := &p.state
	if len(s.places) == 0 {
		return fmt.Errorf("%d children of reloads before haven't finished: %w", 2*maxPool, syscall.EAGAIN)
	}
	place := s.places[len(s.places)-1]
	place.connections = 0
	seat := &seat{
		listener: -1, stop: g.children, parent: os.Getpid(), handler: p.Handler,
		max: p.MaxConnections, growth: p.MaxGrowth, shared: place, stopping: g.stopping,
	}
	copy(seat.keep[:], []int{0, 1, 2, g.children, -1})
	copy(seat.keep[5:], p.Keep) // the rest stays 0, which is kept anyway
	if !p.HandOver {
		seat.listener = s.sources[number%len(s.sources)]
		seat.keep[4] = seat.listener
	}
	pid, err := seat.fork()
	if err != nil {
		return err
	}
	s.mu.Lock() // ended waits for it
	defer s.mu.Unlock()
	child, err := s.reaper.Add(pid)
	if err != nil { // without a descriptor it can't stay
		syscall.Kill(pid, syscall.SIGKILL)
		rawfork.Wait(pid)
		return err
	}
	s.places = s.places[:len(s.places)-1]
	s.members[pid] = &member{generation: g, seat: number, place: place, child: child}
	if s.sent != 0 { // while this one was being made
		child.Signal(s.sent)
	}
	s.counts.Started++
	g.members++
	p.Log.Debug("started", "pid", pid, "generation", g.number)
	return nil
}

// refill forks what is missing of the current generation. It returns when to come
// again, or 0.
func (p *Pool) refill(back *time.Duration) time.Duration {
	s := &p.state
	for len(s.current.missing) > 0 {
		now := time.Now()
		s.tokens = min(s.tokens+deathsPerSecond*now.Sub(s.filled).Seconds(), float64(p.Children))
		s.filled = now
		if s.tokens < 1 {
			return time.Second / deathsPerSecond
		}
		last := len(s.current.missing) - 1
		if err := p.fork(s.current, s.current.missing[last]); err != nil {
			p.count(func(c *PoolCounts) { c.FailedForks++ })
			p.Log.Error("no child", "err", err)
			*back = min(max(2**back, 5*time.Millisecond), time.Second)
			return *back
		}
		*back = 0
		s.tokens--
		s.current.missing = s.current.missing[:last]
	}
	return 0
}

// ended is the Reaper's OnExit.
func (p *Pool) ended(exit reap.Exit) {
	s := &p.state
	s.mu.Lock()
	s.exits = append(s.exits, exit)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// bury takes the children that have ended off the books.
func (p *Pool) bury() {
	s := &p.state
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, exit := range s.exits {
		m := s.members[exit.Pid]
		delete(s.members, exit.Pid)
		s.counts.Exits[exit.Status]++
		s.counts.Connections += int(m.place.connections)
		s.places = append(s.places, m.place)
		g := m.generation
		g.members--
		level := slog.LevelDebug
		switch {
		case exit.Status.ExitStatus() == seatRecycled:
			s.counts.Recycled++
			s.tokens++ // it has earned its successor
		case !g.isStopped && s.sent == 0:
			s.counts.Died++
			level = slog.LevelWarn
		}
		if g.isStopped && g.members == 0 {
			p.release(g)
		} else if !g.isStopped {
			g.missing = append(g.missing, m.seat)
		}
		p.Log.Log(context.Background(), level, "ended", "pid", exit.Pid, "status", describe(exit.Status), "generation", g.number)
	}
	s.exits = nil
}

// stopGeneration has the children of a generation end once they have served the
// connection that they serve; with HandOver, also those that were handed over.
func (p *Pool) stopGeneration(g *generation) {
	if g.isStopped {
		return
	}
	atomic.StoreUint64(g.stopping, 1)
	p.state.mu.Lock() // send may be at work
	g.isStopped = true
	rawcall.Close(g.ours)
	p.state.mu.Unlock()
	rawcall.Add(p.state.wake)
	if g.members == 0 {
		p.release(g)
	}
}

// release gives back what a generation without children has.
func (p *Pool) release(g *generation) {
	if g.children >= 0 {
		rawcall.Close(g.children)
		g.children = -1
	}
}

// reload replaces all children.
func (p *Pool) reload() error {
	s := &p.state
	next, err := p.generate(s.current.number + 1)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.current
	s.current = next
	s.mu.Unlock()
	p.stopGeneration(old)
	return nil
}

// Reload replaces the children: it forks new ones, with this process's memory as it is
// now, and then has the old ones end when they have served their clients. No
// connection is lost. When the new ones can't be forked, it returns the fork's error,
// and the old ones stay. ErrServerClosed says that the pool doesn't serve.
func (p *Pool) Reload() error {
	p.init()
	p.state.mu.Lock()
	started := p.state.started
	p.state.mu.Unlock()
	if !started {
		return fmt.Errorf("pool: reload: %w", ErrServerClosed)
	}
	reply := make(chan error, 1)
	select {
	case p.state.reloads <- reply:
		if err := <-reply; err != nil {
			return fmt.Errorf("pool: reload: %w", err)
		}
		return nil
	case <-p.state.stopping:
	case <-p.state.done:
	}
	return fmt.Errorf("pool: reload: %w", ErrServerClosed)
}

// Shutdown stops accepting, closes the listeners, and waits until all children have
// served their clients. When ctx is done first, they are sent SIGTERM, and Grace later
// SIGKILL; Shutdown then returns ctx's error, with no child left. It may be called at
// any time and more than once.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.init()
	s := &p.state
	s.mu.Lock()
	if !isClosed(s.stopping) {
		close(s.stopping)
	}
	started := s.started
	s.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(p.Grace)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
		<-s.done
	}
	return fmt.Errorf("pool: shutdown: %w", context.Cause(ctx))
}

// signal signals all children, those among them that are just being made.
func (p *Pool) signal(sig syscall.Signal) {
	p.state.mu.Lock()
	p.state.sent = sig
	members := maps.Clone(p.state.members)
	p.state.mu.Unlock()
	for _, m := range members {
		m.child.Signal(sig) // one that has ended needs none
	}
}

// Counts returns what was counted so far.
func (p *Pool) Counts() PoolCounts {
	s := &p.state
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	counts.Exits = maps.Clone(counts.Exits)
	counts.Children = len(s.members)
	for _, m := range s.members {
		counts.Connections += int(m.place.load())
	}
	return counts
}

func (p *Pool) count(change func(*PoolCounts)) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	change(&p.state.counts)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
