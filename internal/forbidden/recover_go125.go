//go:build !go1.26

package forbidden

// What differs between the releases of Go: before 1.26, recover checks no stack.
var (
	guardedHere []Action
	unseenHere  = []Unseen{{"guard-recover", "recover without a panic", recoverNow,
		"before Go 1.26 it is nosplit",
		true, "", recoverNow}}
)
