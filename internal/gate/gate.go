// Package gate keeps ETXTBSY away from those who start programs.
//
// A program can't be executed while somebody has it open for writing: ETXTBSY. A
// child that another goroutine forks has a copy of each such descriptor, until
// its exec closes it. So a goroutine that writes a program, closes it and starts
// it must not fork while a child that was forked before its close is on the way
// to its exec. And nobody may fork while a descriptor is open that isn't
// close-on-exec yet: that is what syscall.ForkLock is for.
//
// Starts therefore go in generations. A call waits until all children of the
// running generation have executed, and then forks together with all that came
// meanwhile, at the same time. syscall.ForkLock is held for the whole of a
// generation, which keeps starts of package syscall and os/exec out, too.
//
// That execve has let the parent go on doesn't say that it has closed anything
// yet, so the executor of fork and vfork closes first (close_before_exec in
// internal/plan), below a bound that keeps a start cheap: a program that has fewer
// descriptors open has no higher ones. posix_spawn and package syscall don't.
package gate

import (
	"sync"
	"syscall"
)

// A Generation is a set of starts that run at the same time.
type Generation struct {
	begun   chan struct{} // closed when its members may fork
	ended   chan struct{} // closed when all of their children have executed
	members int           // that have not left yet
}

var gate struct {
	sync.Mutex
	coming  *Generation // may be joined; nil: make one
	running *Generation // the last one that has begun
}

// Enter waits for its turn. The caller forks, waits for the exec, and leaves.
func Enter() *Generation {
	gate.Lock()
	if g := gate.coming; g != nil {
		g.members++
		gate.Unlock()
		<-g.begun
		return g
	}
	g := &Generation{begun: make(chan struct{}), ended: make(chan struct{}), members: 1}
	gate.coming = g
	before := gate.running
	gate.Unlock()

	if before != nil {
		<-before.ended
	}
	syscall.ForkLock.Lock()
	gate.Lock()
	gate.coming, gate.running = nil, g
	gate.Unlock()
	close(g.begun)
	return g
}

// Leave says that the child has executed, or that there is none.
func (g *Generation) Leave() {
	gate.Lock()
	defer gate.Unlock()
	g.members--
	if g.members == 0 {
		syscall.ForkLock.Unlock()
		close(g.ended)
	}
}
