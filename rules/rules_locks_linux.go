//go:build cgo && (amd64 || arm64)

package rules

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var lockRules = []Rule{
	{
		ID:     "record-locks",
		Claim:  "Record locks stay the parent's: the child has none of them, and meets them as another's.",
		Source: "POSIX fork(), fcntl(); fork(2)",
		Check: func(t *T) {
			fd := int(t.file("x").Fd())
			p := t.Fork(fd)
			t.Equal("the parent locks", p.lock(unix.F_SETLK, fd, unix.F_WRLCK), success)
			c := p.Fork()
			t.Equal("the child locks", c.lock(unix.F_SETLK, fd, unix.F_WRLCK), unix.EAGAIN)
			found := unix.Flock_t{Type: unix.F_WRLCK}
			c.Call(unix.SYS_FCNTL, fd, unix.F_GETLK, &found)
			t.Equal("whose lock the child finds", int(found.Pid), p.Pid())
			t.Equal("the child unlocks", c.lock(unix.F_SETLK, fd, unix.F_UNLCK), success)
			t.Equal("the child locks, after that", c.lock(unix.F_SETLK, fd, unix.F_WRLCK), unix.EAGAIN)
			t.Equal("the parent unlocks", p.lock(unix.F_SETLK, fd, unix.F_UNLCK), success)
			t.Equal("the child locks, after the parent unlocked", c.lock(unix.F_SETLK, fd, unix.F_WRLCK), success)
			t.Equal("the parent locks, while the child has it", p.lock(unix.F_SETLK, fd, unix.F_WRLCK), unix.EAGAIN)
		},
	},
	{
		ID:     "record-locks-close",
		Claim:  "A process loses its record locks when it closes any descriptor of the file, not when its child does.",
		Source: "POSIX fcntl(), close()",
		Check: func(t *T) {
			file := t.file("x")
			fd := int(file.Fd())
			p := t.Fork(fd)
			c := p.Fork()
			t.Equal("the parent locks", p.lock(unix.F_SETLK, fd, unix.F_WRLCK), success)
			second, err := c.Open(file.Name(), unix.O_RDWR, 0)
			t.Must(err)
			t.Must(c.CloseFd(fd))
			t.Equal("the child locks, after it closed its copy", c.lock(unix.F_SETLK, second, unix.F_WRLCK), unix.EAGAIN)
			other, err := p.Open(file.Name(), unix.O_RDONLY, 0)
			t.Must(err)
			t.Must(p.CloseFd(other))
			t.Equal("the child locks, after the parent closed another descriptor", c.lock(unix.F_SETLK, second, unix.F_WRLCK), success)
		},
	},
	{
		ID: "record-locks-death", Row: "C17",
		Claim:  "A process that dies gives its record locks back, and one that waits gets them.",
		Source: "POSIX fcntl()",
		Check: func(t *T) {
			fd := int(t.file("x").Fd())
			p := t.Fork(fd)
			c := p.Fork()
			t.Equal("the child locks", c.lock(unix.F_SETLK, fd, unix.F_WRLCK), success)
			lock := unix.Flock_t{Type: unix.F_WRLCK}
			call := p.Sleeps(unix.SYS_FCNTL, fd, unix.F_SETLKW, &lock)
			c.Signal(unix.SIGKILL)
			_, err := call.Wait()
			t.Equal("the parent's wait", err, nil)
		},
	},
	{
		ID: "flock-shared", Row: "C17",
		Claim:  "A lock of flock belongs to the description: parent and child both have it, and either unlocks it for both.",
		Source: "fork(2); flock(2)",
		Check: func(t *T) {
			file := t.file("x")
			fd := int(file.Fd())
			p := t.Fork(fd)
			const try = unix.LOCK_EX | unix.LOCK_NB
			t.Must(p.Flock(fd, try))
			c := p.Fork()
			t.Equal("the child locks what the parent has", c.Errno(unix.SYS_FLOCK, fd, try), success)
			other, err := c.Open(file.Name(), unix.O_RDWR, 0)
			t.Must(err)
			t.Equal("by a description of its own", c.Errno(unix.SYS_FLOCK, other, try), unix.EWOULDBLOCK)
			t.Must(c.Flock(fd, unix.LOCK_UN))
			t.Equal("by its own, after it unlocked the parent's", c.Errno(unix.SYS_FLOCK, other, try), success)
		},
	},
	{
		ID:     "flock-last-close",
		Claim:  "A lock of flock goes when the last process that has the description closes it or dies.",
		Source: "flock(2)",
		Check: func(t *T) {
			file := t.file("x")
			fd := int(file.Fd())
			watcher := t.Fork(fd) // a description of its own is opened in it
			other, err := watcher.Open(file.Name(), unix.O_RDWR, 0)
			t.Must(err)
			t.Must(watcher.CloseFd(fd))
			p := t.Fork()
			const try = unix.LOCK_EX | unix.LOCK_NB
			own, err := p.Open(file.Name(), unix.O_RDWR, 0)
			t.Must(err)
			t.Must(p.Flock(own, try))
			c := p.Fork()
			t.Must(p.CloseFd(own))
			t.Equal("locked, after the parent closed", watcher.Errno(unix.SYS_FLOCK, other, try), unix.EWOULDBLOCK)
			c.EndAndReap()
			t.Equal("locked, after the child's death", watcher.Errno(unix.SYS_FLOCK, other, try), success)
		},
	},
	{
		ID:     "ofd-locks",
		Claim:  "An open file description lock is shared by parent and child, and either unlocks it for both.",
		Source: "fork(2); F_OFD_SETLK(2const)",
		Check: func(t *T) {
			file := t.file("x")
			fd := int(file.Fd())
			p := t.Fork(fd)
			t.Equal("the parent locks", p.lock(unix.F_OFD_SETLK, fd, unix.F_WRLCK), success)
			c := p.Fork()
			t.Equal("the child locks what the parent has", c.lock(unix.F_OFD_SETLK, fd, unix.F_WRLCK), success)
			other, err := c.Open(file.Name(), unix.O_RDWR, 0)
			t.Must(err)
			t.Equal("by a description of its own", c.lock(unix.F_OFD_SETLK, other, unix.F_WRLCK), unix.EAGAIN)
			t.Equal("the child unlocks", c.lock(unix.F_OFD_SETLK, fd, unix.F_UNLCK), success)
			t.Equal("by its own, after it unlocked the parent's", c.lock(unix.F_OFD_SETLK, other, unix.F_WRLCK), success)
		},
	},
	{
		ID:     "ofd-against-record",
		Claim:  "The parent's own record lock is in the way of its child's open file description lock.",
		Source: "F_OFD_SETLK(2const)",
		Check: func(t *T) {
			fd := int(t.file("x").Fd())
			p := t.Fork(fd)
			t.Equal("the parent's record lock", p.lock(unix.F_SETLK, fd, unix.F_WRLCK), success)
			c := p.Fork()
			t.Equal("the child's lock of the description", c.lock(unix.F_OFD_SETLK, fd, unix.F_WRLCK), unix.EAGAIN)
			p.EndAndReap()
			t.Equal("after the parent's death", c.lock(unix.F_OFD_SETLK, fd, unix.F_WRLCK), success)
		},
	},
	{
		ID: "append-locked", Row: "C17",
		Claim:  "Parent and child that append records in pieces to one file mix them without a lock, and don't with one.",
		Source: "POSIX write(); flock(2)",
		Check: func(t *T) {
			file := t.file("")
			p := t.Fork()
			t.Must(file.Truncate(0))
			c := p.Fork()
			open := func(p *Process) int { // flock is for descriptions: each opens its own
				fd, err := p.Open(file.Name(), unix.O_WRONLY|unix.O_APPEND, 0)
				t.Must(err)
				return fd
			}
			ours, theirs := open(p), open(c)
			p.write(ours, "parent ")
			c.write(theirs, "child ")
			p.write(ours, "1\n")
			c.write(theirs, "2\n")
			t.Equal("without a lock", strings.TrimRight(t.contents(file), "\x00"), "parent child 1\n2\n")
			t.Must(file.Truncate(0))
			t.Must(p.Flock(ours, unix.LOCK_EX))
			p.write(ours, "parent ")
			wait := c.Sleeps(unix.SYS_FLOCK, theirs, unix.LOCK_EX)
			p.write(ours, "1\n")
			t.Must(p.Flock(ours, unix.LOCK_UN))
			_, err := wait.Wait()
			t.Must(err)
			c.write(theirs, "child ")
			c.write(theirs, "2\n")
			t.Equal("with a lock", t.contents(file), "parent 1\nchild 2\n")
		},
	},
}

// lock locks or unlocks the whole file.
func (p *Process) lock(cmd, fd int, kind int16) syscall.Errno {
	return p.Errno(unix.SYS_FCNTL, fd, cmd, &unix.Flock_t{Type: kind})
}
