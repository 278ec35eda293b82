// Package rawcall has system calls that don't wait, or for a moment only, made without
// telling the runtime: a call that the runtime is told of may wake its monitor thread,
// and each page that a thread writes to after a fork is copied. One of them is here
// because unix's own may miss an address on a stack that moves.
package rawcall
