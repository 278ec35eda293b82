// Package ccall calls Go functions out of C, for tests of what happens there.
package ccall
