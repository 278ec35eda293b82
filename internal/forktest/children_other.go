//go:build !linux

package forktest

// Where there is no fork, there is no child to look for.

func becomeSubreaper() error { return nil }

// HaveChild tells whether this process has a child, dead or alive.
func HaveChild() bool { return false }

func kill(int) {}
