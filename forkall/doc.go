// Package forkall is not fork as the rest of this module has it, not supported by
// the Go runtime, and not for programs that can do without it.
//
// It is an experiment: fork(2) with all threads, as Solaris had it by the name of
// forkall. In the child every goroutine of the parent goes on where it was, with
// the collector, timers and the poller: the child is an ordinary Go program.
//
// What it is not:
//
//   - It is not safe for what talks to others. All goroutines exist twice: both
//     read the same pipe, both fire the same timer, both answer the same request,
//     both wait for the same child, which only one of them has. By default the
//     child's TCP and UDP sockets are cut off, see [Options]; pipes, files and
//     Unix sockets are shared. A program must be written for it: [InChild],
//     [Generation] and [AtFork] are there to tell the copies apart.
//   - It is not a documented interface of Go or glibc. It finds what it needs of
//     both by looking, and refuses to work when that isn't found exactly once.
//     A new release of either may end that.
//   - It is not complete. Pending signals, timers of the kernel other than the
//     profiler's, and locks of C libraries that remember a thread's id don't survive;
//     event and timer descriptors and io_uring stay shared; an epoll set under two
//     numbers becomes two. CAVEATS.md shows each.
//   - It is not for programs whose threads differ in what they may do. A thread's user
//     id, capabilities, no_new_privs, seccomp filter and namespaces are the main
//     thread's in the child: a thread that has confined itself is free there.
//   - It is not tried much with -race: 139 children of 139 passed, and make
//     soak-forkall runs 240. The detector is at work in the child, and nobody has told
//     it of the fork: what it has found in the parent counts in the child as well. Its
//     child sleeps for a second as it ends, as any such program.
//   - It is not for tests of this module's other packages, whose children have one
//     thread and a contract.
//
// What it is good for: workers that share a warmed heap by copy-on-write,
// snapshots of a live program that ordinary encoders write, tests that each run in
// a copy of a process that is set up once.
//
//	process, err := forkall.Run(func() int {
//		fmt.Println("I am", os.Getpid(), "and have all that my parent had")
//		return 0
//	})
//	if err != nil {
//		return err
//	}
//	state, err := process.Wait()
//
// It works on linux/amd64 with cgo and glibc. Elsewhere the package builds, and
// every call returns [errors.ErrUnsupported].
package forkall
