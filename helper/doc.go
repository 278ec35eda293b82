// Package helper forks from a process that is single-threaded: a helper, which is
// the program's own image, started once, with no Go runtime in it.
//
// A Go process always has several threads, so its forked child is constrained (see
// package rawfork) and its fork costs time that grows with the heap. The helper has
// one thread and a small memory. It may fork safely by POSIX's own rules, in the
// same short time for a program of 10 MB and of 100 GB, and its children may be
// whole Go programs, with goroutines, garbage collection and all packages:
//
//	func init() {
//		helper.Register("greet", func(files []*os.File) int {
//			fmt.Fprintln(files[0], "hello from a child that is ordinary Go")
//			return 7
//		})
//	}
//
//	func main() {
//		helper.Init() // first: a child runs its function here and exits
//		h, err := helper.Start(helper.Options{Ready: 2})
//		...
//		process, err := h.Go("greet", conn)
//		state, err := process.Wait() // state.ExitCode() == 7
//	}
//
// The children are the program's own children, not the helper's: they are waited
// for as usual. The helper keeps the image that the program was started with, so an
// update of the file on disk doesn't matter to it.
//
// A Go child begins with what the program had when the helper was started (signal
// mask, ignored signals, limits, ids, umask), with the working directory and the
// environment of the call, and with exactly the files of the call and 0, 1 and 2.
// Package initialisers, which run before Init, see the environment of the start.
// It boots the Go runtime, which takes milliseconds; [Options].Ready keeps children
// booted ahead, and [Helper.WaitReady] waits for them.
package helper
