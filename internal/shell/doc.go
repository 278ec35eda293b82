// Package shell drives probes by hand: one line, one command, in the program itself or
// in a child of it that it forked.
package shell
