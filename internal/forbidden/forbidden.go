// Package forbidden holds what a child of fork must not do, as functions that
// can be run in one.
//
// Each is marked nosplit, so that it runs on in the child and the first stack
// check is that of the function that it calls. They are shared by the tests of
// the guard, by the caveats and by the control of the hang matrix, so that all
// speak of the same actions.
package forbidden

// Action is one thing that a child must not do.
type Action struct {
	Name string
	// Blames is what the traceback of a child that the guard stopped contains:
	// the name of the function at fault.
	Blames string
	// Run does it once. It returns when the guard didn't see it.
	Run func()
	// Contract says that Fork's contract speaks of it by name.
	Contract bool
}

// Unseen is one thing that the guard doesn't see.
type Unseen struct {
	ID, Name string
	Run      func()
	// Why says why the guard doesn't see it.
	Why string
	// Harmless says that it neither blocks nor calls the scheduler, so that a
	// child which does it ends as it should.
	Harmless bool
	// Instead is what a child may do in its place, and Way does it.
	Instead string
	Way     func()
}
