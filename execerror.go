package rawfork

// ExecError tells why [ForkExec] started no program. There is no child then: a
// child that was made and failed has been reaped.
type ExecError struct {
	Method Method
	Path   string // the program
	Step   string // what failed: a system call, or the attribute that is at fault
	Err    error  // mostly a syscall.Errno
}

// Error returns a text such as "fork/exec /nope: execve: no such file or
// directory".
func (e *ExecError) Error() string {
	text := e.Method.String() + "/exec " + e.Path + ": "
	if e.Step != "" {
		text += e.Step + ": "
	}
	return text + e.Err.Error()
}

// Unwrap returns Err, so that [errors.Is] finds the errno.
func (e *ExecError) Unwrap() error { return e.Err }
