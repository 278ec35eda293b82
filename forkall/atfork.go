package forkall

import (
	"slices"
	"sync"
)

// Hooks are functions to be called around a fork, as by pthread_atfork(3). Each
// may be nil.
//
// Prepare and Child are how a program keeps its goroutines from going on in the
// child: Prepare takes a lock that they look at, Child notes that they are the
// copies, and releases it.
type Hooks struct {
	Prepare func() // before the fork
	Parent  func() // after it in the parent, also when it failed
	Child   func() // after it in the child, while other goroutines already run
}

// hookList is in the order of registration.
type hookList []Hooks

var hooks struct {
	sync.Mutex
	list hookList
}

// AtFork has the hooks called at each fork of this package from now on, in this
// process and in its children: Prepare in the reverse order of the calls of
// AtFork, Parent and Child in their order, all on the goroutine that forks.
// A hook must not fork. Hooks can't be taken back.
func AtFork(h Hooks) {
	hooks.Lock()
	defer hooks.Unlock()
	hooks.list = append(hooks.list, h)
}

func registered() hookList {
	hooks.Lock()
	defer hooks.Unlock()
	return slices.Clone(hooks.list)
}

func (l hookList) prepare() {
	for _, h := range slices.Backward(l) {
		call(h.Prepare)
	}
}

func (l hookList) parent() {
	for _, h := range l {
		call(h.Parent)
	}
}

func (l hookList) child() {
	for _, h := range l {
		call(h.Child)
	}
}

func call(f func()) {
	if f != nil {
		f()
	}
}
