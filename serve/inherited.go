package serve

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Inherited returns the listeners that systemd, or who speaks its protocol, has passed
// to this process (sd_listen_fds(3)), at least one. It may be called once: it takes
// LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES out of the environment, so that children
// don't take them for theirs.
//
// Errors: ENOENT when there are none for this process, EINVAL for a LISTEN_FDS that is
// no number, and those of net.FileListener for a descriptor that isn't a listener.
func Inherited() ([]net.Listener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) || count == "" || count == "0" {
		return nil, fmt.Errorf("listeners of systemd: none for this process: %w", syscall.ENOENT)
	}
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listeners of systemd: LISTEN_FDS=%q: %w", count, syscall.EINVAL)
	}
	const first = 3 // SD_LISTEN_FDS_START
	var listeners []net.Listener
	for fd := first; fd < first+int(n); fd++ {
		file := os.NewFile(uintptr(fd), fmt.Sprintf("LISTEN_FD %d", fd))
		listener, listenErr := net.FileListener(file) // has a copy of its own
		file.Close()
		if listenErr != nil {
			err = fmt.Errorf("listeners of systemd: descriptor %d: %w", fd, listenErr)
			continue // all are to be closed
		}
		listeners = append(listeners, listener)
	}
	if err != nil {
		for _, listener := range listeners {
			listener.Close()
		}
		return nil, err
	}
	return listeners, nil
}
