//go:build unix && !linux

package pages

func small([]byte) {}
