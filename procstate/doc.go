// Package procstate reads what a process is from proc(5) into plain Go values,
// and tells what differs between two processes, or between one process and what
// it was before: the state that fork(2) copies, shares or resets.
//
//	before, err := procstate.Self()
//	syscall.Umask(0o077)
//	after, err := procstate.Self()
//	fmt.Print(procstate.Diff(before, after, procstate.Moving...))
//	// Umask: 0022 → 0077
//
// A State is not a snapshot: the files of /proc are read one after the other
// while the process runs. Stop it, or let it block, for a state that belongs to
// one moment. The process that is read is always the same one: its directory in
// /proc is held open, and a pid that was given to another process meanwhile is
// an error, not a mixture.
//
// # Sources
//
// The fields of stat and status that github.com/prometheus/procfs has, the
// cgroups and the totals of smaps_rollup are read by it. The rest is parsed
// here, since procfs (v0.22.0)
//   - has no groups, umask, signal sets, no_new_privs, seccomp, exit signal,
//     POSIX timers, locks, timer slack, OOM score adjustment, personality,
//     core dump filter, audit ids, autogroup or VmFlags;
//   - has the soft limits only;
//   - trims what is part of the value: spaces around a name, empty arguments at
//     the end, runs of spaces in the path of a mapping;
//   - cuts the environment off at 1 MB without an error;
//   - gives up all namespaces when one link can't be read, as pid_for_children
//     can't between unshare(2) and the first child;
//   - leaves lock lines out of a descriptor's fdinfo.
//
// Dumpable is not in /proc: for this process it comes from prctl(2), for others
// from the owner of their files.
//
// On platforms other than Linux every read returns [errors.ErrUnsupported];
// [Diff] and the types work.
package procstate
