// Package cloop is the loops that the library is measured against: fork and exit, and
// fork or vfork and execve, each with its wait, in one C function of the same process.
package cloop
