// Package posix has C programs fork, to see what fork does to what is C's own:
// handlers of pthread_atfork and atexit, streams, threads. posix.h is its manual. It
// is empty where there is no cgo.
package posix
