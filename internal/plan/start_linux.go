//go:build cgo && (amd64 || arm64)

package plan

import "syscall"

// Start starts a plan of [Compile] and returns when the program has been executed.
// pidfd is the caller's to close, or -1 when the plan asked for none. An [*Error]
// says that there is no child, and which step failed. A plan can be started once.
//
// The caller must hold syscall.ForkLock, and start one plan at a time of those
// that change a child's ids by [Vfork].
func Start(plan []byte, how How) (pid, pidfd int, err error) {
	started := start(plan, how)
	if failure := started.failure; failure.step != 0 {
		return -1, -1, &Error{StepName(int32(failure.step)), syscall.Errno(failure.error)}
	}
	return int(started.pid), int(started.pidfd), nil
}
