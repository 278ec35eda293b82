//go:build cgo && (amd64 || arm64)

package rules

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/probe"
)

var ipcRules = []Rule{
	{
		ID:     "sem-shared",
		Claim:  "A System V semaphore is no one's own: parent and child operate on the same.",
		Source: "POSIX semop(); svipc(7)",
		Check: func(t *T) {
			p := t.Fork()
			id := p.semaphore(1)
			c := p.Fork()
			t.Equal("the child takes it", c.semop(id, -1, unix.IPC_NOWAIT), success)
			t.Equal("the parent takes it then", p.semop(id, -1, unix.IPC_NOWAIT), unix.EAGAIN)
			t.Equal("the child gives it back", c.semop(id, 1, 0), success)
			t.Equal("the parent takes it then, given back", p.semop(id, -1, unix.IPC_NOWAIT), success)
		},
	},
	{
		ID:     "semadj",
		Claim:  "The child has none of its parent's semaphore adjustments: its end undoes nothing that the parent did.",
		Source: "POSIX fork(), semop(); fork(2)",
		Check: func(t *T) {
			watcher := t.Fork()
			id := watcher.semaphore(5)
			p := watcher.Fork()
			t.Equal("the parent takes 2, to be undone", p.semop(id, -2, semUndo), success)
			c := p.Fork()
			c.EndAndReap()
			t.Equal("the value after the child's end", watcher.semval(id), 3)
			p.EndAndReap()
			t.Equal("the value after the parent's end", watcher.semval(id), 5)
		},
	},
	{
		ID:     "semadj-own",
		Claim:  "What the child does to a semaphore is undone at its own end.",
		Source: "POSIX semop()",
		Check: func(t *T) {
			p := t.Fork()
			id := p.semaphore(5)
			c := p.Fork()
			t.Equal("the child takes 2, to be undone", c.semop(id, -2, semUndo), success)
			t.Equal("the value meanwhile", p.semval(id), 3)
			c.EndAndReap()
			t.Equal("the value after its end", p.semval(id), 5)
		},
	},
	{
		ID:     "message-queue",
		Claim:  "The child has its parent's POSIX message queue descriptors, of the same description: its flags are shared.",
		Source: "POSIX fork(), mq_open(); fork(2); mq_overview(7)",
		Check: func(t *T) {
			p := t.Fork()
			q := p.queue()
			c := p.Fork()
			t.Equal("the child sends", c.Errno(unix.SYS_MQ_TIMEDSEND, q, "hello", 5, 0, nil), success)
			message := make([]byte, 16)
			n := p.Call(unix.SYS_MQ_TIMEDRECEIVE, q, message, len(message), nil, nil)
			t.Equal("the parent receives", string(message[:n]), "hello")
			t.Equal("the parent's O_NONBLOCK", p.mqflags(q, nil), 0)
			nonblock := [8]int64{unix.O_NONBLOCK}
			c.mqflags(q, &nonblock)
			t.Equal("the parent's, after the child set it", p.mqflags(q, nil), unix.O_NONBLOCK)
			t.Must(c.CloseFd(q))
			t.Equal("the parent sends, after the child closed its own", p.Errno(unix.SYS_MQ_TIMEDSEND, q, "x", 1, 0, nil), success)
		},
	},
	{
		ID:     "message-notify",
		Claim:  "A queue's notification stays the parent's: the child gets none and can't ask for one beside it.",
		Source: "POSIX mq_notify(); mq_notify(3)",
		Check: func(t *T) {
			p := t.Fork()
			p.count(unix.SIGUSR1)
			q := p.queue()
			event := [8]int64{0, int64(unix.SIGUSR1)} // sigev_signo, and SIGEV_SIGNAL is 0
			p.Call(unix.SYS_MQ_NOTIFY, q, &event)
			c := p.Fork()
			t.Equal("the child asks", c.Errno(unix.SYS_MQ_NOTIFY, q, &event), unix.EBUSY)
			t.Equal("the child takes it back", c.Errno(unix.SYS_MQ_NOTIFY, q, nil), success)
			t.Equal("the child asks, after that", c.Errno(unix.SYS_MQ_NOTIFY, q, &event), unix.EBUSY)
			t.Equal("a message", c.Errno(unix.SYS_MQ_TIMEDSEND, q, "x", 1, 0, nil), success)
			t.Equal("signals of the parent", p.handled(unix.SIGUSR1), 1)
			t.Equal("signals of the child", c.handled(unix.SIGUSR1), 0)
		},
	},
	{
		ID:     "sysv-messages",
		Claim:  "A System V message queue is no one's own: what the child sends the parent receives.",
		Source: "POSIX msgsnd(); svipc(7)",
		Check: func(t *T) {
			p := t.Fork()
			id := p.Need("msgget", nil, unix.SYS_MSGGET, unix.IPC_PRIVATE, 0o600|unix.IPC_CREAT)
			t.Cleanup(func() { syscall.Syscall(unix.SYS_MSGCTL, uintptr(id), unix.IPC_RMID, 0) })
			c := p.Fork()
			type message struct {
				kind int64
				text [8]byte
			}
			c.Call(unix.SYS_MSGSND, id, &message{1, [8]byte{'h', 'i'}}, 8, 0)
			var got message
			p.Call(unix.SYS_MSGRCV, id, &got, 8, 0, unix.IPC_NOWAIT)
			t.Equal("the parent receives", got, message{1, [8]byte{'h', 'i'}})
			t.Equal("the child receives then", c.Errno(unix.SYS_MSGRCV, id, &got, 8, 0, unix.IPC_NOWAIT), unix.ENOMSG)
		},
	},
	{
		ID:     "aio-context",
		Claim:  "The child has none of its parent's asynchronous I/O contexts.",
		Source: "POSIX fork(); fork(2); io_setup(2)",
		Check: func(t *T) {
			p := t.Fork()
			var context uint64
			p.Need("io_setup", []syscall.Errno{unix.EAGAIN}, unix.SYS_IO_SETUP, 4, &context)
			c := p.Fork()
			events := make([]byte, 32*4)
			get := func(p *Process) syscall.Errno {
				return p.Errno(unix.SYS_IO_GETEVENTS, context, 0, 4, events, &unix.Timespec{})
			}
			t.Equal("the parent asks for events", get(p), success)
			t.Equal("the child asks for events", get(c), unix.EINVAL)
			t.Equal("the child destroys it", c.Errno(unix.SYS_IO_DESTROY, context), unix.EINVAL)
			t.Equal("the parent asks for events, after that", get(p), success)
		},
	},
	{
		ID:     "aio-outstanding",
		Claim:  "Asynchronous I/O that was under way at the fork is the parent's: the parent alone gets its result.",
		Source: "POSIX fork(); fork(2)",
		Check: func(t *T) {
			p := t.Fork()
			r, w, err := p.Pipe2(0)
			t.Must(err)
			var context uint64
			p.Need("io_setup", []syscall.Errno{unix.EAGAIN}, unix.SYS_IO_SETUP, 4, &context)
			// struct iocb: a poll of the pipe, which is under way until there is something.
			const iocbPoll = 5
			iocb := struct {
				data             uint64
				key, rw          uint32
				opcode, priority uint16
				fd               uint32
				buf, nbytes      uint64
				rest             [3]uint64
			}{data: 77, opcode: iocbPoll, fd: uint32(r), buf: unix.POLLIN}
			addr, err := p.Place(bytesOf(&iocb))
			t.Must(err)
			list := uint64(addr)
			p.Need("a poll by io_submit", []syscall.Errno{unix.EINVAL}, unix.SYS_IO_SUBMIT, context, 1, &list)
			c := p.Fork()
			var event [4]uint64
			get := func(p *Process, least int, limit unix.Timespec) (int, syscall.Errno) {
				n, err := p.Syscall(unix.SYS_IO_GETEVENTS, context, least, 1, &event, &limit)
				if err != nil {
					return 0, p.errno(err)
				}
				return int(n), 0
			}
			n, _ := get(p, 0, unix.Timespec{})
			t.Equal("results, before", n, 0)
			c.write(w, "x")
			_, errno := get(c, 0, unix.Timespec{})
			t.Equal("the child asks", errno, unix.EINVAL)
			n, errno = get(p, 1, unix.NsecToTimespec(int64(timeout)))
			t.Must(errnoError(errno))
			t.Equal("the parent's results", n, 1)
			t.Equal("which", event[0], uint64(77))
		},
	},
	{
		ID:     "uring-shared",
		Claim:  "The child has its parent's io_uring: what the child submits completes in the ring that both have mapped.",
		Source: "io_uring(7); io_uring_setup(2)",
		Check:  checkRing,
	},
}

// semUndo is SEM_UNDO.
const semUndo = 0x1000

// semaphore makes a System V semaphore that is gone after the check.
func (p *Process) semaphore(value int) (id int) {
	id = p.Need("semget", nil, unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, 0o600|unix.IPC_CREAT)
	p.t.Cleanup(func() { syscall.Syscall6(unix.SYS_SEMCTL, uintptr(id), 0, unix.IPC_RMID, 0, 0, 0) })
	const setval = 16
	p.Call(unix.SYS_SEMCTL, id, 0, setval, value)
	return id
}

func (p *Process) semop(id, op, flags int) syscall.Errno {
	err := p.Semop(id, []probe.Sembuf{{Op: int16(op), Flags: int16(flags)}})
	if err == nil {
		return 0
	}
	return p.errno(err)
}

func (p *Process) semval(id int) int {
	const getval = 12
	return p.Call(unix.SYS_SEMCTL, id, 0, getval, 0)
}

// queue makes a POSIX message queue without a name.
func (p *Process) queue() (fd int) {
	name := fmt.Sprintf("rawfork-rules-%d-%d", os.Getpid(), p.Pid())
	attr := [8]int64{0, 4, 16} // flags, messages, bytes of each
	fd = p.Need("mq_open", nil, unix.SYS_MQ_OPEN, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600, &attr)
	p.Call(unix.SYS_MQ_UNLINK, name)
	return fd
}

// mqflags sets the attributes of a queue, unless set is nil, and returns the flags that
// it had.
func (p *Process) mqflags(fd int, set *[8]int64) int {
	var old [8]int64
	p.Call(unix.SYS_MQ_GETSETATTR, fd, set, &old)
	return int(old[0])
}

// errnoError is nil for no errno.
func errnoError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// ioCount is how many bytes the process has read, as /proc has it.
func (p *Process) ioCount() (n int) {
	_, err := fmt.Sscanf(p.Text("io"), "rchar: %d", &n)
	p.t.Must(err)
	return n
}

// checkRing has the child submit an operation that does nothing.
func checkRing(t *T) {
	p := t.Fork()
	// struct io_uring_params, as far as it is used here.
	var params struct {
		sqEntries, cqEntries, flags, cpu, idle, features, fd uint32
		_                                                    [3]uint32
		sq                                                   struct {
			head, tail, mask, entries, flags, dropped, array, _ uint32
			_                                                   uint64
		}
		cq struct {
			head, tail, mask, entries, overflow, cqes, flags, _ uint32
			_                                                   uint64
		}
	}
	fd := p.Need("io_uring_setup", nil, unix.SYS_IO_URING_SETUP, 1, &params)
	const shared, populate = unix.MAP_SHARED, unix.PROT_READ | unix.PROT_WRITE
	const offsetSQEs = 0x10000000
	// With IORING_FEAT_SINGLE_MMAP, which all kernels from 5.4 on have, one mapping.
	ring := uintptr(p.Call(unix.SYS_MMAP, 0, page, populate, shared, fd, 0))
	sqes := uintptr(p.Call(unix.SYS_MMAP, 0, page, populate, shared, fd, offsetSQEs))
	c := p.Fork()
	read := func(p *Process, at uint32) uint32 {
		return *(*uint32)(unsafe.Pointer(unsafe.StringData(p.Bytes(ring+uintptr(at), 4))))
	}
	const userData = 32 // offset in struct io_uring_sqe; opcode 0 is a no-op
	c.Put(sqes+userData, "childs")
	t.Equal("completions, before", read(p, params.cq.tail), uint32(0))
	c.Put(ring+uintptr(params.sq.array), "\x00\x00\x00\x00")
	c.Put(ring+uintptr(params.sq.tail), "\x01\x00\x00\x00")
	t.Equal("the child submits", c.Call(unix.SYS_IO_URING_ENTER, fd, 1, 1, 1, nil, 0), 1)
	t.Equal("completions that the parent sees", read(p, params.cq.tail), uint32(1))
	t.Equal("whose", p.Bytes(ring+uintptr(params.cq.cqes), 6), "childs")
	p.Put(ring+uintptr(params.cq.head), "\x01\x00\x00\x00")
	t.Equal("taken, for the child too, after the parent took it", read(c, params.cq.head), uint32(1))
}
