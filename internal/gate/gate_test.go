package gate

import (
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// Whoever is inside is of the same generation, and nobody else starts a program.
func TestGenerationsDontOverlap(t *testing.T) {
	var inside struct {
		sync.Mutex
		of    *Generation
		count int
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				g := Enter()
				inside.Lock()
				if inside.count > 0 && inside.of != g {
					t.Error("members of two generations are inside")
				}
				inside.of = g
				inside.count++
				inside.Unlock()

				runtime.Gosched() // others come in
				if syscall.ForkLock.TryRLock() {
					t.Error("ForkLock is free while a program is started")
					syscall.ForkLock.RUnlock()
				}

				inside.Lock()
				inside.count--
				inside.Unlock()
				g.Leave()
			}
		})
	}
	group.Wait()
	if !syscall.ForkLock.TryLock() {
		t.Fatal("ForkLock is held when all have left")
	}
	syscall.ForkLock.Unlock()
}

// Those that come while a generation runs are the next one, together.
func TestThoseWhoWaitGoTogether(t *testing.T) {
	first := Enter()
	joined := make(chan *Generation)
	for range 3 {
		go func() { joined <- Enter() }()
	}
	for waiting := 0; waiting < 3; runtime.Gosched() {
		gate.Lock()
		if gate.coming != nil {
			waiting = gate.coming.members
		}
		gate.Unlock()
	}
	select {
	case <-joined:
		t.Error("one begins while the generation before runs")
	default:
	}
	first.Leave()
	second := <-joined
	for range 2 {
		if g := <-joined; g != second {
			t.Error("two that waited are of two generations")
		}
	}
	for range 3 {
		second.Leave()
	}
}
