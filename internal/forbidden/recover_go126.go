//go:build go1.26

package forbidden

// What differs between the releases of Go: from 1.26 on, recover checks the stack.
var (
	guardedHere = []Action{{"recover", "runtime.gorecover", recoverNow, false}}
	unseenHere  []Unseen
)
