//go:build linux && cgo && amd64

package forkall_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rawfork/forkall"
	"rawfork/forkall/internal/cload"
)

// A world is what goes on in a process that forks: workers, each of which does
// something over and over and is seen to do so.
type world struct {
	workers []*worker
	check   func() error // what a child checks beside its workers; may be nil
	quiet   func()       // waits until no program runs that would be left behind; may be nil
}

// worker is one goroutine or thread. Its counter grows each time round.
type worker struct {
	name  string
	count *atomic.Int64
}

// repeat starts a goroutine that calls work for ever.
func (w *world) repeat(name string, work func()) {
	count := new(atomic.Int64)
	w.workers = append(w.workers, &worker{name, count})
	go func() {
		for {
			work()
			count.Add(1)
		}
	}()
}

// progress waits until each worker has gone round once more.
func (w *world) progress(limit time.Duration) error {
	before := make([]int64, len(w.workers))
	for i, worker := range w.workers {
		before[i] = worker.count.Load()
	}
	end := time.Now().Add(limit)
	for i, worker := range w.workers {
		for worker.count.Load() == before[i] {
			if time.Now().After(end) {
				return fmt.Errorf("%s: no progress for %v", worker.name, limit)
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	return nil
}

// must is for what can fail in a world only when the test is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// scenarios are the worlds that are forked. Those that keep all processors at work, or
// have many threads, have a smaller share of the children.
var scenarios = []struct {
	name  string
	share int
	build func(w *world)
}{
	{"idle", 4, func(*world) {}},
	{"allocate", 2, allocate},
	{"channels", 4, channels},
	{"mutexes", 4, mutexes},
	{"timers", 4, timers},
	{"everything in Go", 2, func(w *world) { allocate(w); channels(w); mutexes(w); timers(w) }},
	{"spin", 1, spin},
	{"locked threads", 4, lockedThreads},
	{"ending threads", 4, endingThreads},
	{"sleep in C", 4, sleepInC},
	{"malloc in C", 1, mallocInC},
	{"threads of C", 4, threadsOfC},
	{"masked thread", 4, maskedThread},
	{"dlopen", 4, dlopens},
	{"exec", 4, execs},
	{"pipes", 4, pipes},
	{"blocked", 4, blocked},
	{"http", 4, httpBothSides},
	{"signals", 4, signals},
	{"profile", 2, profile},
	{"set ids", 4, setIDs},
	{"fork again", 1, forkAgain},
	{"many threads", 1, manyThreads},
	{"all at once", 1, func(w *world) {
		for _, build := range []func(*world){allocate, channels, mutexes, timers, endingThreads, mallocInC, threadsOfC, maskedThread, pipes, httpBothSides} {
			build(w)
		}
	}},
}

var sink [64]atomic.Pointer[[][]byte]

func allocate(w *world) {
	for i := range 8 {
		w.repeat("allocate", func() {
			var list [][]byte
			for j := range 20 {
				list = append(list, make([]byte, 100+j*300))
			}
			sink[i].Store(&list)
			time.Sleep(300 * time.Microsecond)
		})
	}
}

func channels(w *world) {
	for range 4 {
		there, back := make(chan int), make(chan int)
		w.repeat("ping", func() { there <- 1; <-back; time.Sleep(100 * time.Microsecond) })
		w.repeat("pong", func() { <-there; back <- 1 })
	}
}

func mutexes(w *world) {
	var mu sync.Mutex
	n := 0
	for range 6 {
		w.repeat("mutex", func() {
			for range 100 {
				mu.Lock()
				n++
				mu.Unlock()
			}
			time.Sleep(200 * time.Microsecond)
		})
	}
}

func timers(w *world) {
	for i := range 6 {
		ticker := time.NewTicker(time.Duration(i+1) * 300 * time.Microsecond)
		w.repeat("ticker", func() { <-ticker.C })
	}
	w.repeat("AfterFunc", func() {
		done := make(chan bool)
		time.AfterFunc(100*time.Microsecond, func() { close(done) })
		<-done
	})
}

// spin has loops without a call, which only a signal preempts.
func spin(w *world) {
	for range 2 {
		go func() {
			//lint:ignore SA5002 that it spins is what it is for
			for {
			}
		}()
	}
	allocate(w)
}

func lockedThreads(w *world) {
	for range 4 {
		started := make(chan bool)
		lock := sync.OnceFunc(func() {
			runtime.LockOSThread()
			close(started)
		})
		w.repeat("locked", func() {
			lock()
			time.Sleep(200 * time.Microsecond)
		})
		<-started
	}
}

// endingThreads has goroutines that end locked to their threads, which end then.
func endingThreads(w *world) {
	for range 2 {
		w.repeat("ending thread", func() {
			done := make(chan bool)
			go func() {
				runtime.LockOSThread()
				close(done)
			}()
			<-done
			time.Sleep(100 * time.Microsecond)
		})
	}
}

func sleepInC(w *world) {
	for range 4 {
		w.repeat("sleep in C", func() { cload.Sleep(500 * time.Microsecond) })
	}
}

func mallocInC(w *world) {
	for range 2 {
		w.repeat("malloc in C", func() { cload.Malloc(1000) })
	}
}

func threadsOfC(w *world) {
	for range 2 {
		w.repeat("thread of C", func() {
			if err := cload.Thread(); err != nil {
				panic(err)
			}
		})
	}
}

func maskedThread(w *world) {
	w.workers = append(w.workers, &worker{"masked thread", must(cload.Masked())})
	allocate(w)
}

func dlopens(w *world) {
	w.repeat("dlopen", func() {
		if err := cload.Open(); err != nil {
			panic(err)
		}
		time.Sleep(100 * time.Microsecond)
	})
}

// execs has os/exec at work, in the children too. The copy of a call that waits for
// the parent's program finds no child of its own.
func execs(w *world) {
	var running sync.Mutex
	w.quiet = running.Lock
	w.repeat("exec", func() {
		running.Lock()
		defer running.Unlock()
		err := exec.Command("/bin/true").Run()
		if err != nil && !forkall.InChild() {
			panic(err)
		}
	})
	w.check = func() error {
		out, err := exec.Command("/bin/echo", "hello").Output()
		if err == nil && string(out) != "hello\n" {
			err = fmt.Errorf("echo said %q", out)
		}
		return err
	}
}

// pipes has both processes read and write the same pipes, by the poller and by
// threads that block.
func pipes(w *world) {
	r, wr, err := os.Pipe()
	must(r, err)
	w.repeat("write", func() { must(wr.Write([]byte{1})); time.Sleep(200 * time.Microsecond) })
	w.repeat("read", func() { must(r.Read(make([]byte, 1))) })
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		panic(err)
	}
	w.repeat("blocking write", func() { must(syscall.Write(fds[1], []byte{1})); time.Sleep(200 * time.Microsecond) })
	w.repeat("blocking read", func() { must(syscall.Read(fds[0], make([]byte, 1))) })
	w.check = func() error {
		own, ownW, err := os.Pipe()
		if err != nil {
			return err
		}
		go func() { ownW.WriteString("hello"); ownW.Close() }()
		got, err := io.ReadAll(own)
		if err == nil && string(got) != "hello" {
			err = fmt.Errorf("read %q", got)
		}
		return err
	}
}

// blocked has goroutines that wait for what never comes, in the kernel or at the
// poller; in the child some find that they are cut off.
func blocked(w *world) {
	r, wr, err := os.Pipe()
	must(r, err)
	full, fullW, err := os.Pipe()
	must(full, err)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	near := must(net.Dial("tcp", listener.Addr().String()))
	far := must(listener.Accept())
	datagrams := must(net.ListenPacket("udp", "127.0.0.1:0"))
	ended := make(chan error, 4)
	go func() { r.Read(make([]byte, 1)); ended <- errors.New("pipe read") }()
	go func() { fullW.Write(make([]byte, 1<<20)); ended <- errors.New("pipe write") }()
	go func() { listener.Accept(); ended <- errors.New("accepted") }()
	go func() { datagrams.ReadFrom(make([]byte, 1)); ended <- errors.New("datagram") }()
	reads := make(chan error, 1)
	go func() { _, err := near.Read(make([]byte, 1)); reads <- err }()
	w.check = func() error {
		if err := <-reads; err != io.EOF {
			return fmt.Errorf("read of a connection that is cut off: %v, want %v", err, io.EOF)
		}
		if _, err := far.Write([]byte{1}); !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("write to a connection that is cut off: %v, want %v", err, syscall.EPIPE)
		}
		if _, err := datagrams.WriteTo([]byte{1}, datagrams.LocalAddr()); err == nil {
			return errors.New("a datagram was sent")
		}
		if err := useRuntime(); err != nil { // time for the others to wake up wrongly
			return err
		}
		select {
		case err := <-ended:
			return err
		default:
		}
		runtime.KeepAlive([]any{wr, full, fullW})
		return nil
	}
}

func httpBothSides(w *world) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go http.Serve(listener, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "ok") }))
	for range 2 {
		client := &http.Client{Transport: &http.Transport{}, Timeout: childLimit / 3}
		count := new(atomic.Int64)
		// Not among the workers that a child must see: it has no connection to go on with.
		go func() {
			for {
				if err := get(client, listener.Addr().String(), "ok"); err != nil && !forkall.InChild() {
					fmt.Fprintln(os.Stderr, "parent:", err)
					httpErrors.Add(1)
				}
				count.Add(1)
				if forkall.InChild() {
					return
				}
				time.Sleep(300 * time.Microsecond)
			}
		}()
	}
	w.check = func() error {
		own, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		want := fmt.Sprint("pid ", os.Getpid())
		go http.Serve(own, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "pid ", os.Getpid()) }))
		return get(&http.Client{Transport: &http.Transport{}, Timeout: childLimit / 3}, own.Addr().String(), want)
	}
}

// httpErrors are those that a parent saw. A child must not disturb its parent.
var httpErrors atomic.Int64

func get(client *http.Client, address, want string) error {
	response, err := client.Get("http://" + address)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("GET: %q, want %q", body, want)
	}
	return err
}

func signals(w *world) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGUSR1)
	w.repeat("signal", func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			panic(err)
		}
		select {
		case <-c:
		case <-time.After(10 * time.Millisecond): // a pending one is lost in the child
		}
	})
	w.check = func() error {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR2)
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
			return err
		}
		select {
		case <-c:
			return nil
		case <-time.After(childLimit / 3):
			return errors.New("SIGUSR2 lost")
		}
	}
}

// profile has the CPU profiler run; each child stops its copy and starts one anew.
func profile(w *world) {
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	allocate(w)
	w.check = func() error {
		pprof.StopCPUProfile()
		var b bytes.Buffer
		if err := pprof.StartCPUProfile(&b); err != nil {
			return err
		}
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		}
		pprof.StopCPUProfile()
		if b.Len() == 0 {
			return errors.New("an empty profile")
		}
		return nil
	}
}

// setIDs makes libc send a signal of its own to every thread, by libc's notion of
// the threads' ids, and wait until all have answered.
func setIDs(w *world) {
	w.repeat("setregid", func() {
		if err := syscall.Setregid(-1, -1); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	})
	w.check = func() error { return syscall.Setregid(os.Getgid(), os.Getgid()) }
}

func forkAgain(w *world) {
	allocate(w)
	w.check = func() error {
		if forkall.Generation() > 1 {
			return nil
		}
		process, err := forkall.Run(func() int { return examine(w) })
		if err != nil {
			return err
		}
		return ended(process, 2)
	}
}

func manyThreads(w *world) {
	for range 100 {
		w.repeat("sleep in C", func() { cload.Sleep(20 * time.Millisecond) })
	}
}
