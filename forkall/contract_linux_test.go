//go:build linux && cgo && amd64

package forkall_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rawfork/forkall"
	"rawfork/forkall/internal/cload"
	"rawfork/internal/forktest"
)

// Tests whose process forks run as helpers, so that no goroutine of package testing
// is copied. A helper prints what it found; each has its name.
var contract = []contractCase{
	{"statuses", statuses, "0: exit status 0\n7: exit status 7\nos.Exit: exit status 9\npanic: exit status 2\nGoexit: exit status 2\nkilled: signal: killed\n"},
	{"generations", generations, "parent: generation 0, in child false\nchild: generation 1, in child true\ngrandchild: generation 2, in child true\n"},
	{"hooks", hooks, "child 1\nchild 2\nprepare 2\nprepare 1\nparent 1\nparent 2\n"},
	{"cut off", func(w io.Writer) { sockets(w, forkall.Options{}) },
		"connection: EOF\nlistener: i/o timeout\ndatagram: i/o timeout\n"},
	{"keep", func(w io.Writer) { sockets(w, forkall.Options{KeepListeners: true, KeepConnections: true}) },
		"connection: hello\nlistener: accepted\ndatagram: hello\n"},
	{"descriptors", descriptors, "the same numbers, and as close-on-exec as before\n"},
	{"threads", threads, "a goroutine's: as before\nthe main one: as before\n"},
	{"refused", refused, refusedWant},
	{"refused timers", refusedTimers, refusedTimersWant},
	{"parallel", parallel, "10 of 10\n"},
	{"at once", atOnce, "20 of 20\n"},
	{"second epoll", secondEpoll, "child: 1 event\nparent: 1 event\n"},
	{"process limit", processLimit, "forkall: fork: resource temporarily unavailable\nchildren: false\nthe parent goes on\n"},
	{"unmade", unmade, "exit status 71\nthe parent goes on\n"},
	{"blocked thread", blockedThread, "forkall: a thread didn't come in time: resource temporarily unavailable\nexit status 0\n"},
	{"small ids", smallIDs, "8 children\n"},
	{"large heap", largeHeap, "exit status 0\n"},
}

type contractCase struct {
	name string
	run  func(w io.Writer)
	want string
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "unmade" && os.Geteuid() != 0 {
				t.Skip("only root can become a user who has no other processes")
			}
			if c.name == "blocked thread" {
				t.Parallel() // it waits for ten seconds
			}
			cmd := forktest.Command(t, "contract", c.name)
			if c.name == "small ids" {
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			got, err := cmd.Output()
			if cmd.SysProcAttr != nil && errors.Is(err, unix.EPERM) {
				t.Skip("no new pid namespace: ", err)
			}
			if err != nil {
				t.Errorf("helper: %v\n%s", err, stderr.Bytes())
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, stderr.Bytes())
			}
		})
	}
}

// playContract is the helper: argument 1 is the test's name.
func playContract() {
	// A helper that hangs is killed, and all of its children with it. The first touch of
	// 1 GB has taken 50 s on a virtual machine.
	time.AfterFunc(3*childLimit, func() { panic("the helper hangs") })
	for _, c := range contract {
		if c.name == os.Args[1] {
			c.run(os.Stdout)
		}
	}
}

// run runs f in a child, waits for it, and says how it ended.
func run(o forkall.Options, f func() int) string {
	process := must(o.Run(f))
	state, err := process.Wait()
	if forkall.InChild() && errors.Is(err, syscall.ECHILD) {
		select {}
	}
	return must(state, err).String()
}

func statuses(w io.Writer) {
	// What the children say as they die is no matter here.
	must(0, unix.Dup3(int(must(os.OpenFile(os.DevNull, os.O_WRONLY, 0)).Fd()), 2, 0))
	for _, c := range []struct {
		name string
		f    func() int
	}{
		{"0", func() int { return 0 }},
		{"7", func() int { return 7 }},
		{"os.Exit", func() int { os.Exit(9); return 0 }},
		{"panic", func() int { panic("in the child") }},
		{"Goexit", func() int { runtime.Goexit(); return 0 }},
		{"killed", func() int { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }},
	} {
		fmt.Fprintf(w, "%s: %s\n", c.name, run(forkall.Options{}, c.f))
	}
}

func generations(w io.Writer) {
	say := func(who string) {
		fmt.Fprintf(w, "%s: generation %d, in child %v\n", who, forkall.Generation(), forkall.InChild())
	}
	say("parent")
	run(forkall.Options{}, func() int {
		say("child")
		run(forkall.Options{}, func() int { say("grandchild"); return 0 })
		return 0
	})
}

func hooks(w io.Writer) {
	var said bytes.Buffer
	for i := 1; i <= 2; i++ {
		say := func(what string) func() { return func() { fmt.Fprintf(&said, "%s %d\n", what, i) } }
		forkall.AtFork(forkall.Hooks{Prepare: say("prepare"), Parent: say("parent"), Child: say("child")})
	}
	forkall.AtFork(forkall.Hooks{})
	process := must(forkall.Run(func() int {
		fmt.Fprint(w, strings.ReplaceAll(said.String(), "prepare 2\nprepare 1\n", ""))
		return 0
	}))
	must(process.Wait()) // both write to w
	io.Copy(w, &said)
}

// sockets has a child use the parent's sockets, each of which has something ready.
func sockets(w io.Writer, o forkall.Options) {
	listener := must(net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	near := must(net.Dial("tcp", listener.Addr().String()))
	far := must(listener.Accept())
	must(near.Write([]byte("hello")))
	must(net.Dial("tcp", listener.Addr().String())) // to be accepted
	datagrams := must(net.ListenPacket("udp", "127.0.0.1:0"))
	must(must(net.Dial("udp", datagrams.LocalAddr().String())).Write([]byte("hello")))
	run(o, func() int {
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		brief := 100 * time.Millisecond // for what never comes
		if o.KeepListeners {
			brief = childLimit
		}
		b := make([]byte, 5)
		say := func(what string, got string, err error) {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				got = "i/o timeout"
			} else if err != nil {
				got = err.Error()
			}
			fmt.Fprintf(w, "%s: %s\n", what, got)
		}
		far.SetDeadline(in(childLimit))
		n, err := io.ReadFull(far, b)
		say("connection", string(b[:n]), err)
		listener.SetDeadline(in(brief))
		_, err = listener.Accept()
		say("listener", "accepted", err)
		datagrams.SetDeadline(in(brief))
		n, _, err = datagrams.ReadFrom(b)
		say("datagram", string(b[:n]), err)
		return 0
	})
	runtime.KeepAlive(near)
}

// openDescriptors lists the numbers that are open, with their flags.
func openDescriptors() map[int]int {
	open := map[int]int{}
	for fd := range 1100 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = flags
		}
	}
	return open
}

func descriptors(w io.Writer) {
	run(forkall.Options{}, func() int { return 0 }) // the runtime has its poller now
	must(net.Listen("tcp", "127.0.0.1:0"))
	kept := must(net.ListenUDP("udp", nil))
	must(must(kept.File()).Fd(), nil)
	must(unix.FcntlInt(uintptr(must(unix.EpollCreate1(0))), unix.F_GETFD, 0)) // not close-on-exec
	must(0, unix.Dup3(must(unix.EpollCreate1(0)), 1000, unix.O_CLOEXEC))      // after a gap
	before := openDescriptors()
	if how := run(forkall.Options{}, func() int {
		if diff := cmp.Diff(before, openDescriptors()); diff != "" {
			fmt.Fprintln(w, diff)
		}
		return 0
	}); how != "exit status 0" {
		fmt.Fprintln(w, how)
	}
	if diff := cmp.Diff(before, openDescriptors()); diff != "" {
		fmt.Fprintln(w, "parent:", diff)
	}
	fmt.Fprintln(w, "the same numbers, and as close-on-exec as before")
}

func parallel(w io.Writer) {
	var mu sync.Mutex
	var group sync.WaitGroup
	ok := 0
	for range 10 {
		group.Go(func() {
			process := must(forkall.Run(func() int { return examine(&world{}) }))
			err := ended(process, 1)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ok++
			}
		})
	}
	group.Wait()
	if !forkall.InChild() {
		fmt.Fprintf(w, "%d of 10\n", ok)
	}
}

// atOnce forks again as soon as a call returns, when threads may not have left the
// handler yet: the next call must hold them all the same. All share one processor, and
// the leader is another thread than the caller and a nicer one: so the caller interrupts
// it as soon as it is woken up.
func atOnce(w io.Writer) {
	var one unix.CPUSet
	one.Set(firstProcessor())
	for _, task := range must(os.ReadDir("/proc/self/task")) {
		if err := unix.SchedSetaffinity(must(strconv.Atoi(task.Name())), &one); err != unix.ESRCH {
			must(0, err)
		}
	}
	runtime.LockOSThread()
	must(0, unix.Setpriority(unix.PRIO_PROCESS, os.Getpid(), 5)) // of the leader alone
	if unix.Gettid() != os.Getpid() {                            // the leader is somebody else's
		atOnceHere(w)
		return
	}
	done := make(chan bool)
	go func() { atOnceHere(w); close(done) }()
	<-done
}

func atOnceHere(w io.Writer) {
	var busy world
	sleepInC(&busy)
	check := func() int {
		if err := busy.progress(childLimit / 2); err != nil {
			return exitWrong
		}
		return 0
	}
	ok := 0
	for range 10 {
		var children []*os.Process
		for range 2 {
			children = append(children, must(forkall.Run(check)))
		}
		for _, child := range children {
			if err := ended(child, 1); err != nil {
				fmt.Fprintln(os.Stderr, err)
				continue
			}
			ok++
		}
	}
	fmt.Fprintf(w, "%d of 20\n", ok)
}

// firstProcessor is the first that this process may use.
func firstProcessor() int {
	var set unix.CPUSet
	must(0, unix.SchedGetaffinity(0, &set))
	i := 0
	for !set.IsSet(i) {
		i++
	}
	return i
}

// secondEpoll has an epoll set that isn't Go's: the child has one of its own.
func secondEpoll(w io.Writer) {
	var pipe [2]int
	must(0, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	set := must(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pipe[0])}
	must(0, unix.EpollCtl(set, unix.EPOLL_CTL_ADD, pipe[0], &event))
	must(unix.Write(pipe[1], []byte{1}))
	say := func(who string) {
		n, err := unix.EpollWait(set, make([]unix.EpollEvent, 2), 0)
		fmt.Fprintf(w, "%s: %d event\n", who, must(n, err))
	}
	run(forkall.Options{}, func() int {
		say("child")
		must(0, unix.EpollCtl(set, unix.EPOLL_CTL_DEL, pipe[0], nil)) // no matter to the parent
		return 0
	})
	say("parent")
}

// limited runs f with a limit on the user's processes, as a user who has no others
// if it may. Threads count.
func limited(processes int, f func()) {
	var group sync.WaitGroup
	for range 8 { // threads that the runtime then needn't make
		group.Go(func() { cload.Sleep(10 * time.Millisecond) })
	}
	group.Wait()
	if processes == 0 {
		processes = len(must(os.ReadDir("/proc/self/task"))) + 2
	}
	if os.Geteuid() == 0 {
		must(0, syscall.Setuid(1<<20+os.Getpid()))
	}
	var before unix.Rlimit
	must(0, unix.Getrlimit(unix.RLIMIT_NPROC, &before))
	must(0, unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: uint64(processes), Max: before.Max}))
	f()
	must(0, unix.Setrlimit(unix.RLIMIT_NPROC, &before))
	runtime.GC()
	for range 100 {
		group.Go(func() { time.Sleep(time.Millisecond) })
	}
	group.Wait()
	fmt.Println("the parent goes on")
}

func processLimit(w io.Writer) {
	limited(1, func() {
		pid, err := forkall.Fork()
		if pid == 0 {
			os.Exit(0)
		}
		fmt.Fprintln(w, err)
		fmt.Fprintln(w, "children:", forktest.HaveChild())
	})
}

// unmade forks where the child may be made, but not all of its threads.
func unmade(w io.Writer) {
	limited(0, func() { fmt.Fprintln(w, run(forkall.Options{}, func() int { return 0 })) })
}

// blockedThread has a thread that can't be held: it waits for its child of vfork(2).
func blockedThread(w io.Writer) {
	var ready, end [2]int
	must(0, unix.Pipe2(ready[:], unix.O_CLOEXEC))
	must(0, unix.Pipe2(end[:], unix.O_CLOEXEC))
	ended := make(chan error)
	go func() { ended <- cload.Vfork(ready[1], end[0]) }()
	must(unix.Read(ready[0], make([]byte, 1)))
	pid, err := forkall.Fork()
	if pid == 0 {
		os.Exit(0)
	}
	fmt.Fprintln(w, err)
	must(unix.Write(end[1], []byte{1}))
	must(0, <-ended)
	fmt.Fprintln(w, run(forkall.Options{}, func() int { return 0 }))
}

// smallIDs is process 1 of a pid namespace, as in a container. Its threads' ids are those
// of descriptors as well, and stand in memory for many things. Each of eight threads forks.
func smallIDs(w io.Writer) {
	must(0, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(0, unix.Mount("proc", "/proc", "proc", 0, ""))
	ok, end := 0, make(chan bool)
	for range 8 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread()
			if how := run(forkall.Options{}, func() int { return 0 }); how == "exit status 0" {
				ok++
			} else {
				fmt.Fprintln(w, how)
			}
			close(done)
			<-end
		}()
		<-done
	}
	fmt.Fprintf(w, "%d children\n", ok)
}

// largeHeap has 1 GB, of which every 16th page is touched, and every page in the long form.
func largeHeap(w io.Writer) {
	step := 16 * os.Getpagesize()
	if os.Getenv(forksEnv) != "" {
		step = os.Getpagesize()
	}
	heap := make([]byte, 1<<30)
	for i := 0; i < len(heap); i += step {
		heap[i] = 1
	}
	fmt.Fprintln(w, run(forkall.Options{}, func() int {
		runtime.GC()
		for i := 0; i < len(heap); i += step {
			if heap[i] != 1 {
				return 1
			}
		}
		return 0
	}))
}
