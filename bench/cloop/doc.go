// Package cloop is the loop that Fork is measured against: fork, _exit and
// waitpid in one C function of the same process.
package cloop
