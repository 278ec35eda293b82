//go:build cgo && (amd64 || arm64)

package rules

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/probe"
	"rawfork/procstate"
)

// What F_NOTIFY is asked for.
const (
	dnCreate    = 4
	dnMultishot = 1 << 31
)

var descriptorRules = []Rule{
	{
		ID: "descriptors-copied", Row: "C8",
		Claim:  "The child has a copy of every descriptor, and what either process opens or closes then is its own.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			before := p.State(procstate.Descriptors).Descriptors
			c := p.Fork()
			after := c.State(procstate.Descriptors).Descriptors
			t.Equal("what the reading end is in the child", after[r].Target, before[r].Target)
			t.Equal("what the writing end is in the child", after[w].Target, before[w].Target)
			t.Must(c.CloseFd(r))
			t.Equal("the parent's, after the child closed its own", p.Errno(unix.SYS_FCNTL, r, unix.F_GETFD), success)
			t.Must(p.CloseFd(w))
			t.Equal("the child's, after the parent closed its own", c.Errno(unix.SYS_FCNTL, w, unix.F_GETFD), success)
			number, err := c.Open("/dev/null", unix.O_RDONLY, 0)
			t.Must(err)
			t.Equal("the number that the child gets", number, r)
			t.Equal("what the parent has there", p.State(procstate.Descriptors).Descriptors[r].Target, before[r].Target)
		},
	},
	{
		ID:     "description-shared",
		Claim:  "A descriptor and its copy in the child refer to one open file description; opening the file anew makes another.",
		Source: "POSIX fork(); fork(2); kcmp(2)",
		Check: func(t *T) {
			p := t.Fork()
			fd, err := p.Open("/dev/null", unix.O_RDONLY, 0)
			t.Must(err)
			c := p.Fork()
			other, err := c.Open("/dev/null", unix.O_RDONLY, 0)
			t.Must(err)
			t.Equal("the copy is the same", p.compare(c, kcmpFile, fd, fd), 0)
			t.Equal("one opened anew is the same", p.compare(c, kcmpFile, fd, other) == 0, false)
		},
	},
	{
		ID: "offset-shared", Row: "C8",
		Claim:  "A file's offset is shared: where one process reads, writes or seeks, the other goes on.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			file := t.file("abcdef")
			fd := int(file.Fd())
			p := t.Fork(fd)
			c := p.Fork()
			t.Equal("the child reads", c.read(fd, 2), "ab")
			t.Equal("the parent reads on", p.read(fd, 2), "cd")
			_, err := p.Lseek(fd, 1, unix.SEEK_SET)
			t.Must(err)
			t.Equal("the child reads, after the parent went to 1", c.read(fd, 1), "b")
			c.write(fd, "X")
			p.write(fd, "Y")
			t.Equal("the file, after the child wrote X and the parent Y", t.contents(file)[:6], "abXYef")
			own, err := c.Open(file.Name(), unix.O_RDONLY, 0)
			t.Must(err)
			t.Equal("the child reads, from a description of its own", c.read(own, 1), "a")
			t.Equal("the shared offset, after that", c.Call(unix.SYS_LSEEK, fd, 0, unix.SEEK_CUR), 4)
		},
	},
	{
		ID:     "status-flags-shared",
		Claim:  "O_NONBLOCK and O_APPEND belong to the description: set in one process, they are set in the other.",
		Source: "POSIX fork(), fcntl(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, _, err := p.Pipe2(0)
			t.Must(err)
			c := p.Fork()
			buf := make([]byte, 1)
			c.Call(unix.SYS_FCNTL, r, unix.F_SETFL, unix.O_NONBLOCK)
			t.Equal("the parent's read, after the child set O_NONBLOCK", p.Errno(unix.SYS_READ, r, buf, 1), unix.EAGAIN)
			p.Call(unix.SYS_FCNTL, r, unix.F_SETFL, unix.O_APPEND)
			flags := c.Call(unix.SYS_FCNTL, r, unix.F_GETFL, 0)
			t.Equal("the child's O_NONBLOCK, after the parent cleared it", flags&unix.O_NONBLOCK, 0)
			t.Equal("the child's O_APPEND, after the parent set it", flags&unix.O_APPEND, unix.O_APPEND)
		},
	},
	{
		ID:     "cloexec-private",
		Claim:  "Close-on-exec is copied, is each process's own then, and keeps no descriptor out of the child.",
		Source: "POSIX fork(), fcntl(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(unix.O_CLOEXEC)
			t.Must(err)
			c := p.Fork()
			cloexec := func(p *Process, fd int) int { return p.Call(unix.SYS_FCNTL, fd, unix.F_GETFD) }
			t.Equal("the child's flag", cloexec(c, r), unix.FD_CLOEXEC)
			c.Call(unix.SYS_FCNTL, r, unix.F_SETFD, 0)
			t.Equal("the parent's, after the child cleared its own", cloexec(p, r), unix.FD_CLOEXEC)
			p.Call(unix.SYS_FCNTL, w, unix.F_SETFD, 0)
			t.Equal("the child's, after the parent cleared its own", cloexec(c, w), unix.FD_CLOEXEC)
		},
	},
	{
		ID:     "cloexec-at-exec",
		Claim:  "What is close-on-exec is closed when the child execs, in the child alone.",
		Source: "POSIX fork(), exec(); execve(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(unix.O_CLOEXEC)
			t.Must(err)
			c := p.Fork()
			t.Must(p.CloseFd(w))
			t.Equal("the parent's end has a writer, before", p.readable(r), false)
			t.Must(c.Exec("/bin/sh", []string{"sh", "-c", "exec sleep 1000"}, nil))
			t.Equal("the parent reads to the end, after", p.read(r, 1), "")
			t.Equal("the parent's own descriptor", p.Errno(unix.SYS_FCNTL, r, unix.F_GETFD), success)
		},
	},
	{
		ID: "end-needs-all", Row: "C8, C3",
		Claim:  "A pipe or connection ends only when every process has closed its copy.",
		Source: "POSIX close(), pipe(); pipe(7)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			c := p.Fork()
			t.Must(p.CloseFd(w))
			t.Equal("it has ended, when the parent has closed it", p.readable(r), false)
			c.write(w, "x")
			t.Equal("what the child still writes", p.read(r, 1), "x")
			t.Must(c.CloseFd(w))
			t.Equal("it has ended, when the child has closed it too", p.readable(r), true)
			t.Equal("the parent reads", p.read(r, 1), "")
		},
	},
	{
		ID: "handle", Row: "C3",
		Claim:  "A server whose child serves a connection closes it and takes the next one; the client sees the end when the child is done.",
		Source: "POSIX fork(), close()",
		Check: func(t *T) {
			server := t.Fork()
			listener := server.listen()
			client := server.Fork()
			t.Must(client.CloseFd(listener.fd))
			conn := client.connect(listener)
			accepted := server.Call(unix.SYS_ACCEPT4, listener.fd, nil, nil, 0)
			handler := server.Fork()
			t.Must(handler.CloseFd(listener.fd))
			t.Must(server.CloseFd(accepted))
			client.write(conn, "ping")
			t.Equal("the child reads", handler.read(accepted, 4), "ping")
			second := client.connect(listener)
			t.Must(server.CloseFd(server.Call(unix.SYS_ACCEPT4, listener.fd, nil, nil, 0)))
			t.Equal("the next client's connection, which the parent closed", client.read(second, 1), "")
			t.Equal("the first client sees an end, while the child serves", client.readable(conn), false)
			handler.write(accepted, "pong")
			handler.EndAndReap()
			t.Equal("the first client reads the answer", client.read(conn, 4), "pong")
			t.Equal("and the end", client.read(conn, 1), "")
		},
	},
	{
		ID:     "sigpipe-needs-all",
		Claim:  "Writing to a pipe fails only when no process has its reading end any more.",
		Source: "POSIX write(); pipe(7)",
		Check: func(t *T) {
			p := t.Fork()
			p.ignore(unix.SIGPIPE)
			r, w, err := p.Pipe2(0)
			t.Must(err)
			c := p.Fork()
			t.Must(p.CloseFd(r))
			t.Equal("the parent writes, while the child could read", p.Errno(unix.SYS_WRITE, w, "x", 1), success)
			t.Must(c.CloseFd(r))
			t.Equal("the parent writes, when nobody can read", p.Errno(unix.SYS_WRITE, w, "x", 1), unix.EPIPE)
		},
	},
	{
		ID: "two-writers", Row: "C8",
		Claim:  "Two processes that write to one stream mix what they write: neither's lines stay in one piece.",
		Source: "POSIX write(); pipe(7)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			c := p.Fork()
			p.write(w, "one line")
			c.write(w, "its line")
			p.write(w, " of one\n")
			c.write(w, " goes on\n")
			t.Equal("the stream", p.read(r, 100), "one lineits line of one\n goes on\n")
		},
	},
	{
		ID:     "shutdown-shared",
		Claim:  "Closing a socket in the child leaves the parent's connection, shutting it down ends it for both.",
		Source: "POSIX fork(), shutdown(); shutdown(2)",
		Check: func(t *T) {
			p := t.Fork()
			near, far := p.socketpair(unix.SOCK_STREAM)
			c := p.Fork()
			second, err := c.Dup(near)
			t.Must(err)
			t.Must(c.CloseFd(near))
			t.Equal("the far end sees an end, after the child closed", p.readable(far), false)
			c.Call(unix.SYS_SHUTDOWN, second, unix.SHUT_WR)
			t.Equal("the far end reads, after the child shut down", p.read(far, 1), "")
			quiet := unix.MSG_NOSIGNAL
			t.Equal("the parent sends", p.Errno(unix.SYS_SENDTO, near, "x", 1, quiet, nil, 0), unix.EPIPE)
		},
	},
	{
		ID:     "peer-is-maker",
		Claim:  "The peer of a socket pair is who made it, even when the child uses it.",
		Source: "unix(7): SO_PEERCRED",
		Check: func(t *T) {
			p := t.Fork()
			near, _ := p.socketpair(unix.SOCK_STREAM)
			c := p.Fork()
			var cred unix.Ucred
			length := uint32(unsafe.Sizeof(cred))
			c.Call(unix.SYS_GETSOCKOPT, near, unix.SOL_SOCKET, unix.SO_PEERCRED, &cred, &length)
			t.Equal("the peer that the child sees", int(cred.Pid), p.Pid())
		},
	},
	{
		ID:     "directory-stream",
		Claim:  "The place in a directory is the description's: what one process has listed, the other doesn't see again.",
		Source: "POSIX fork(); getdents(2)",
		Check: func(t *T) {
			dir := t.Dir()
			for _, name := range []string{"a", "b", "c"} {
				t.Must(os.WriteFile(filepath.Join(dir, name), nil, 0o600))
			}
			p := t.Fork()
			fd, err := p.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			t.Must(err)
			c := p.Fork()
			buf := make([]byte, 4096)
			t.Equal("bytes that the child lists", c.Call(unix.SYS_GETDENTS64, fd, buf, len(buf)) > 0, true)
			t.Equal("bytes that the parent lists then", p.Call(unix.SYS_GETDENTS64, fd, buf, len(buf)), 0)
			_, err = c.Lseek(fd, 0, unix.SEEK_SET)
			t.Must(err)
			t.Equal("bytes that the parent lists, after the child went back", p.Call(unix.SYS_GETDENTS64, fd, buf, len(buf)) > 0, true)
		},
	},
	{
		ID:     "owner-shared",
		Claim:  "Who gets SIGIO belongs to the description: the child's copy still names the parent, and either may change it.",
		Source: "fork(2); F_SETOWN(2const)",
		Check: func(t *T) {
			p := t.Fork()
			near, far := p.socketpair(unix.SOCK_STREAM)
			p.count(unix.SIGUSR1)
			p.Call(unix.SYS_FCNTL, near, unix.F_SETOWN, p.Pid())
			p.Call(unix.SYS_FCNTL, near, unix.F_SETSIG, int(unix.SIGUSR1))
			p.Call(unix.SYS_FCNTL, near, unix.F_SETFL, unix.O_ASYNC)
			c := p.Fork()
			t.Equal("the owner that the child sees", c.Call(unix.SYS_FCNTL, near, unix.F_GETOWN, 0), p.Pid())
			t.Equal("the signal that the child sees", c.Call(unix.SYS_FCNTL, near, unix.F_GETSIG, 0), int(unix.SIGUSR1))
			c.write(far, "x")
			t.Equal("signals of the parent", p.handled(unix.SIGUSR1), 1)
			t.Equal("signals of the child", c.handled(unix.SIGUSR1), 0)
			c.Call(unix.SYS_FCNTL, near, unix.F_SETOWN, c.Pid())
			p.write(far, "x")
			t.Equal("signals of the child, after it took it over", c.handled(unix.SIGUSR1), 1)
			t.Equal("signals of the parent, after that", p.handled(unix.SIGUSR1), 1)
		},
	},
	{
		ID:     "dnotify",
		Claim:  "Directory change notifications stay the parent's: the child gets none, and its close ends none.",
		Source: "fork(2); F_NOTIFY(2const)",
		Check: func(t *T) {
			dir := t.Dir()
			p := t.Fork()
			p.count(unix.SIGIO)
			fd, err := p.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			t.Must(err)
			p.Need("F_NOTIFY", []syscall.Errno{unix.EINVAL}, unix.SYS_FCNTL, fd, unix.F_NOTIFY, dnCreate|dnMultishot)
			c := p.Fork()
			t.Must(os.WriteFile(filepath.Join(dir, "first"), nil, 0o600))
			t.Equal("the parent's signals", p.handled(unix.SIGIO), 1)
			t.Equal("the child's signals", c.handled(unix.SIGIO), 0)
			t.Must(c.CloseFd(fd))
			t.Must(os.WriteFile(filepath.Join(dir, "second"), nil, 0o600))
			t.Equal("the parent's signals, after the child closed the directory", p.handled(unix.SIGIO), 2)
			t.Must(p.CloseFd(fd))
			t.Must(os.WriteFile(filepath.Join(dir, "third"), nil, 0o600))
			t.Equal("the parent's signals, after it closed it itself", p.handled(unix.SIGIO), 2)
		},
	},
	{
		ID:     "inotify",
		Claim:  "An inotify instance is shared: what the child watches the parent hears of, and an event goes to who reads first.",
		Source: "inotify(7)",
		Check: func(t *T) {
			dir := t.Dir()
			p := t.Fork()
			fd := p.Call(unix.SYS_INOTIFY_INIT1, unix.IN_NONBLOCK)
			c := p.Fork()
			c.Call(unix.SYS_INOTIFY_ADD_WATCH, fd, dir, unix.IN_CREATE)
			t.Must(os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
			t.Equal("the parent's events", p.readable(fd), true)
			t.Equal("the child reads one", c.read(fd, 1000) != "", true)
			t.Equal("the parent's events then", p.readable(fd), false)
		},
	},
	{
		ID:     "epoll-shared",
		Claim:  "An epoll instance is shared: what the child registers or unregisters, the parent waits for or not.",
		Source: "epoll(7); epoll_ctl(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			epoll, err := p.EpollCreate1(0)
			t.Must(err)
			c := p.Fork()
			t.Must(c.EpollCtl(epoll, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r)}))
			p.write(w, "x")
			t.Equal("the parent's events, after the child registered", p.events(epoll), 1)
			t.Must(c.EpollCtl(epoll, unix.EPOLL_CTL_DEL, r, nil))
			t.Equal("the parent's events, after the child unregistered", p.events(epoll), 0)
			t.Equal("there is something to read", p.readable(r), true)
		},
	},
	{
		ID:     "epoll-close",
		Claim:  "The child's close of a descriptor leaves it registered at the parent's epoll instance.",
		Source: "epoll(7), questions and answers",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			epoll := p.watch(r)
			c := p.Fork()
			t.Must(c.CloseFd(r))
			p.write(w, "x")
			t.Equal("the parent's events, after the child's close", p.events(epoll), 1)
			t.Must(c.CloseFd(epoll))
			t.Equal("the parent's events, after the child closed the instance", p.events(epoll), 1)
		},
	},
	{
		ID:     "epoll-death",
		Claim:  "The child's death is no event at the parent's epoll instance, as long as others have what it held.",
		Source: "epoll(7)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			epoll := p.watch(r)
			c, last := p.Fork(), p.Fork()
			t.Must(p.CloseFd(w))
			c.EndAndReap()
			t.Equal("events, after the death of one holder", p.events(epoll), 0)
			last.EndAndReap()
			t.Equal("events, after the death of the last", p.events(epoll), 1)
		},
	},
	{
		ID:     "epoll-own-table",
		Claim:  "A registration that the child made outlives the child's close, as long as the parent has the description.",
		Source: "epoll(7), questions and answers",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			epoll := p.watch(r)
			c := p.Fork()
			t.Must(p.CloseFd(r))
			p.write(w, "x")
			t.Equal("events for a descriptor that the parent has closed", p.events(epoll), 1)
			t.Equal("the parent unregisters it", p.errno(p.EpollCtl(epoll, unix.EPOLL_CTL_DEL, r, nil)), unix.EBADF)
			t.Must(c.CloseFd(r))
			t.Equal("events, after the child has closed it too", p.events(epoll), 0)
		},
	},
	{
		ID:     "eventfd-shared",
		Claim:  "An eventfd's counter is shared.",
		Source: "eventfd(2)",
		Check: func(t *T) {
			p := t.Fork()
			fd := p.Call(unix.SYS_EVENTFD2, 0, unix.EFD_NONBLOCK)
			c := p.Fork()
			c.write(fd, "\x05\x00\x00\x00\x00\x00\x00\x00")
			t.Equal("the parent reads", p.read(fd, 8), "\x05\x00\x00\x00\x00\x00\x00\x00")
			t.Equal("the child reads then", c.Errno(unix.SYS_READ, fd, make([]byte, 8), 8), unix.EAGAIN)
		},
	},
	{
		ID:     "timerfd-shared",
		Claim:  "A timerfd is a descriptor: it goes on in the child, and an expiry that one process reads is gone for the other.",
		Source: "timerfd_create(2)",
		Check: func(t *T) {
			p := t.Fork()
			fd := p.Call(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
			p.Call(unix.SYS_TIMERFD_SETTIME, fd, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 1}}, nil)
			c := p.Fork()
			c.poll(fd, timeout)
			t.Equal("the child reads one expiry", c.read(fd, 8), "\x01\x00\x00\x00\x00\x00\x00\x00")
			t.Equal("the parent reads then", p.Errno(unix.SYS_READ, fd, make([]byte, 8), 8), unix.EAGAIN)
			c.Call(unix.SYS_TIMERFD_SETTIME, fd, 0, &unix.ItimerSpec{Value: unix.Timespec{Sec: 1000}}, nil)
			var left unix.ItimerSpec
			p.Call(unix.SYS_TIMERFD_GETTIME, fd, &left)
			t.Equal("the parent's timer runs, after the child armed it", left.Value.Sec > 0, true)
		},
	},
	{
		ID:     "signalfd-reader",
		Claim:  "A signalfd gives each process its own signals.",
		Source: "signalfd(2)",
		Check: func(t *T) {
			p := t.Fork()
			p.block(unix.SIGUSR1)
			mask := probe.Mask(unix.SIGUSR1)
			fd := p.Call(unix.SYS_SIGNALFD4, -1, &mask, unsafe.Sizeof(mask), unix.SFD_NONBLOCK)
			c := p.Fork()
			p.Signal(unix.SIGUSR1)
			t.Equal("the child reads", c.Errno(unix.SYS_READ, fd, make([]byte, 128), 128), unix.EAGAIN)
			t.Equal("the parent reads a signal", p.read(fd, 128)[0], byte(unix.SIGUSR1))
			c.Signal(unix.SIGUSR1)
			t.Equal("the child reads its own signal", c.read(fd, 128)[0], byte(unix.SIGUSR1))
		},
	},
	{
		ID:     "lease-shared",
		Claim:  "A lease belongs to the description: the child's copy has it, and the child may give it up for both.",
		Source: "F_GETLEASE(2const)",
		Check: func(t *T) {
			file := t.file("x")
			path := file.Name()
			t.Must(file.Close())
			p := t.Fork()
			fd, err := p.Open(path, unix.O_RDONLY, 0)
			t.Must(err)
			p.Need("F_SETLEASE", []syscall.Errno{unix.EINVAL, unix.EAGAIN}, unix.SYS_FCNTL, fd, unix.F_SETLEASE, unix.F_RDLCK)
			c := p.Fork()
			t.Equal("the child's lease", c.Call(unix.SYS_FCNTL, fd, unix.F_GETLEASE, 0), unix.F_RDLCK)
			c.Call(unix.SYS_FCNTL, fd, unix.F_SETLEASE, unix.F_UNLCK)
			t.Equal("the parent's, after the child gave it up", p.Call(unix.SYS_FCNTL, fd, unix.F_GETLEASE, 0), unix.F_UNLCK)
		},
	},
	{
		ID:     "limit-per-process",
		Claim:  "RLIMIT_NOFILE counts each process's descriptors for itself.",
		Source: "getrlimit(2)",
		Check: func(t *T) {
			p := t.Fork()
			c := p.Fork()
			for _, p := range []*Process{p, c} {
				limit, err := p.Getrlimit(unix.RLIMIT_NOFILE)
				t.Must(err)
				limit.Cur = 5
				t.Must(p.Setrlimit(unix.RLIMIT_NOFILE, limit))
				p.Call(unix.SYS_DUP, 0)
				p.Call(unix.SYS_DUP, 0)
				t.Equal("one too many", p.Errno(unix.SYS_DUP, 0), unix.EMFILE)
			}
			t.Must(c.CloseFd(3))
			t.Equal("the parent's next, after the child closed one", p.Errno(unix.SYS_DUP, 0), unix.EMFILE)
			t.Equal("the child's next", c.Errno(unix.SYS_DUP, 0), success)
		},
	},
	{
		ID: "server", Row: "C15",
		Claim:  "A server that forks a child for each connection serves all at once, however slow one client is, and leaves no zombie when it reaps.",
		Source: "POSIX fork(), wait()",
		Check:  checkServer,
	},
	{
		ID: "pool", Row: "C16",
		Claim:  "Children that were forked ahead accept from one listener: each connection goes to one of them, and each serves many.",
		Source: "POSIX accept(); accept(2)",
		Check: func(t *T) {
			parent := t.Fork()
			listener := parent.listen()
			client := parent.Fork()
			pool := []*Process{parent.Fork(), parent.Fork()}
			served := map[*Process]int{}
			accept := func(w *Process) syscall.Errno {
				fd, err := w.Syscall(unix.SYS_ACCEPT4, listener.fd, nil, nil, unix.SOCK_NONBLOCK)
				if err != nil {
					return w.errno(err)
				}
				served[w]++
				w.write(int(fd), "hello")
				t.Must(w.CloseFd(int(fd)))
				return 0
			}
			parent.Call(unix.SYS_FCNTL, listener.fd, unix.F_SETFL, unix.O_NONBLOCK)
			for i := range 6 {
				conn := client.connect(listener)
				t.Equal("one of them accepts", accept(pool[i%2]), success)
				t.Equal("the other finds nothing", accept(pool[1-i%2]), unix.EAGAIN)
				t.Equal("the client reads", client.read(conn, 10), "hello")
				t.Must(client.CloseFd(conn))
			}
			t.Equal("served by each", []int{served[pool[0]], served[pool[1]]}, []int{3, 3})
		},
	},
}

// checkServer serves three clients by [rawfork.Serve], of which the first is slow.
func checkServer(t *T) {
	var conns [3]int
	var pids [3]int
	for i := range conns {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		t.Must(err)
		conns[i] = pair[0]
		pids[i], err = rawfork.Serve(pair[1], child.Echo)
		unix.Close(pair[1])
		t.Must(err)
		t.Cleanup(func() { unix.Close(pair[0]) })
		t.reapLater(pids[i])
	}
	say := func(fd int, text string) string {
		_, err := unix.Write(fd, []byte(text))
		t.Must(err)
		t.Must(os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO,
			&unix.Timeval{Sec: int64(timeout / time.Second)})))
		answer := make([]byte, 100)
		n, err := unix.Read(fd, answer)
		t.Must(err)
		return string(answer[:n])
	}
	// The first client has said nothing yet.
	t.Equal("the second client's answer", say(conns[1], "second"), "second")
	t.Equal("the third client's answer", say(conns[2], "third"), "third")
	t.Equal("the first client's answer, at last", say(conns[0], "first"), "first")
	for i, pid := range pids {
		t.Must(unix.Shutdown(conns[i], unix.SHUT_WR))
		status, err := rawfork.Wait(pid)
		t.Must(err)
		t.Equal("the child's exit status", status.ExitStatus(), 0)
		t.Equal("a zombie is left", unix.Kill(pid, 0), error(unix.ESRCH))
	}
}
