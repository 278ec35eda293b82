package child

// PollFd is struct pollfd: a descriptor, the events that are waited for, and
// those that [Poll] found (unix.POLLIN and its like). A negative Fd is skipped.
type PollFd struct {
	Fd      int32
	Events  int16
	Revents int16
}
