// Package rules states what fork does to a Go program, each statement with a check
// that shows it.
//
// A [Caveat] is something that goes wrong in a child without care: a claim, where it
// comes from, a demonstration that really goes wrong, counted over many tries and
// under a watchdog, and the library's way, which doesn't. The matrix ([Matrix]) runs
// children of every kind under every load of the parent, and beside them those of a
// plain fork through cgo, which hang.
//
// The same data feed the tests, the command (rawfork caveats) and CAVEATS.md.
package rules

//go:generate go run rawfork/rawfork caveats --write ../CAVEATS.md
