// Package reap reaps the children that are handed to it, and no others.
//
// A child that ended is a zombie until its parent waits for it (C10). The textbook's
// handler of SIGCHLD that loops on wait4(-1) takes every child's status, also those
// that os/exec, in another goroutine, waits for: that one then gets ECHILD instead of
// an exit code. A Reaper leaves them alone:
//
//	r, err := reap.New(reap.Options{})
//	...
//	child, err := r.Start(func() (int, error) {
//		return rawfork.ForkExec("/bin/sh", []string{"sh", "-c", "exit 3"}, nil)
//	})
//	...
//	exit, err := child.Wait(ctx)
//	fmt.Println(exit.Pid == child.Pid(), exit.Status.ExitStatus()) // true 3
//
// # How it knows
//
// The Reaper holds a pidfd of each child, all of them in one epoll set that the
// runtime's poller watches: one goroutine, no thread and no polling, however many
// children there are. A pidfd becomes readable when its process has ended; the
// Reaper then takes that one by waitid(P_PIDFD). SIGCHLD would do without a
// descriptor for each child, but it says only that some children have ended, perhaps
// many: all would have to be asked each time, since waitid(P_ALL) shows the first one
// only, which may be somebody else's for as long as he likes. And the handler of
// SIGCHLD belongs to the whole program: a signal.Ignore or signal.Reset anywhere
// would end the reaping, unseen. A pidfd is also the only way to signal a child that
// can't hit another process.
//
// # Orphans
//
// With Options.Orphans the process becomes a subreaper (C13): what its descendants
// leave behind becomes its child, and somebody must reap that. No pidfd can be had
// ahead of an unknown process, so here SIGCHLD is the signal to look. The Reaper takes
// a process only when all of this says that it is nobody else's:
//
//   - It is a child of the process's main thread. That is where Linux puts orphans. A
//     child that another thread forked is that thread's, and isn't taken, as long as
//     the thread lives; then it becomes another one's, normally the main thread's.
//   - No descriptor of this process is a pidfd of it. Package os holds one for each
//     process that it started, from the fork itself until the wait.
//   - It was not handed over, nor is it being started by [Reaper.Start].
//
// What is left is a child that a goroutine made on the main thread, or on a thread that
// has ended since, not by package os, not by Start. Programs that do that hand it over
// or hold a pidfd of it (SysProcAttr.PidFD). Others keep the main thread free of forks
// by runtime.LockOSThread in an init function, and let no thread end that has forked.
//
// Reaper needs Linux 5.4; elsewhere New returns [errors.ErrUnsupported].
package reap
