//go:build linux && amd64

// Forkall-workers builds an index once, and forks workers that answer HTTP
// requests from it. They share it by copy-on-write: it is built once, and is in
// memory once. Beside them, the same workers started as programs of their own,
// each of which builds its index.
//
// The index is in few large objects without pointers, so that the collector of a
// child has nothing to write to it. (The figures are of a machine that did much else.)
//
//	$ go run ./examples/forkall-workers
//	4 workers, an index of 500 MB
//	           each ready after    memory, all
//	forkall             414.3 ms         510 MB
//	re-exec           51551.6 ms        2015 MB
//	400 requests answered by the workers, all right
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"rawfork/forkall"
)

var (
	size    = flag.Int("mb", 500, "size of the index in `MB`")
	workers = flag.Int("workers", 4, "how many there are")
	anew    = flag.Bool("anew", false, "be a worker of its own: build an index, serve descriptor 3")
)

// requests are sent to each worker, on average.
const requests = 100

func main() {
	log.SetFlags(0)
	log.SetPrefix("forkall-workers: ")
	flag.Parse()
	if *anew {
		listener, err := net.FileListener(os.NewFile(3, "listener"))
		check(err)
		serve(listener, build(*size<<20), os.NewFile(4, "ready"))
	}
	fmt.Printf("%d workers, an index of %d MB\n", *workers, *size)
	fmt.Printf("%-8s %18s %14s\n", "", "each ready after", "memory, all")
	index := build(*size << 20)
	forked := start("forkall", func(listener *net.TCPListener, ready *os.File) (*os.Process, error) {
		return forkall.Options{KeepListeners: true}.Run(func() int {
			serve(listener, index, ready)
			return 1
		})
	})
	forked.report(os.Getpid())
	forked.ask(index)
	forked.end()
	started := start("re-exec", func(listener *net.TCPListener, ready *os.File) (*os.Process, error) {
		file, err := listener.File()
		if err != nil {
			return nil, err
		}
		defer file.Close()
		cmd := exec.Command("/proc/self/exe", "-anew", "-mb", strconv.Itoa(*size))
		cmd.ExtraFiles = []*os.File{file, ready}
		err = cmd.Start()
		return cmd.Process, err
	})
	started.report()
	started.end()
	fmt.Printf("%d requests answered by the workers, all right\n", *workers*requests)
}

// An index has a sorted list of keys, and a value for each.
type index struct{ keys, values []uint64 }

// build makes an index of that many bytes, which takes a while.
func build(bytes int) index {
	n := bytes / 16
	i := index{make([]uint64, n), make([]uint64, n)}
	for at := range i.keys {
		i.keys[at] = mix(uint64(at))
	}
	slices.Sort(i.keys)
	for at, key := range i.keys {
		i.values[at] = mix(key)
	}
	runtime.GC()
	return i
}

// mix is the finalizer of SplitMix64: distinct numbers stay distinct.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// serve answers requests from the index for ever.
func serve(listener net.Listener, i index, ready *os.File) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		key, err := strconv.ParseUint(r.FormValue("key"), 10, 64)
		if err != nil {
			http.Error(w, "key: not a number", http.StatusBadRequest)
			return
		}
		at, found := slices.BinarySearch(i.keys, key)
		if !found {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, i.values[at])
	}
	ready.Write([]byte{1})
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}

// pool is workers that serve one listener.
type pool struct {
	how       string
	listener  *net.TCPListener
	processes []*os.Process
	ready     []time.Duration
}

// start starts workers one after the other, and waits until each is ready.
func start(how string, one func(*net.TCPListener, *os.File) (*os.Process, error)) *pool {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)
	p := &pool{how: how, listener: listener}
	for range *workers {
		r, w, err := os.Pipe()
		check(err)
		began := time.Now()
		process, err := one(listener, w)
		check(err)
		_, err = r.Read(make([]byte, 1))
		check(err)
		p.ready = append(p.ready, time.Since(began))
		p.processes = append(p.processes, process)
		check(errors.Join(r.Close(), w.Close()))
	}
	return p
}

// report prints what the workers took, with the memory of other processes.
func (p *pool) report(others ...int) {
	for _, process := range p.processes {
		others = append(others, process.Pid)
	}
	total := 0
	for _, pid := range others {
		total += proportional(pid)
	}
	slices.SortFunc(p.ready, cmp.Compare)
	fmt.Printf("%-8s %15.1f ms %11d MB\n", p.how, p.ready[len(p.ready)/2].Seconds()*1e3, total>>10)
}

// proportional is the memory of a process in kB, of which what it shares with
// others counts by the share of each: Pss of proc(5).
func proportional(pid int) (kB int) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	check(err)
	_, after, _ := strings.Cut(string(text), "\nPss:")
	_, err = fmt.Sscan(after, &kB)
	check(err)
	return kB
}

// ask sends requests, each on a connection of its own, and checks the answers.
func (p *pool) ask(i index) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for n := range *workers * requests {
		at := int(mix(uint64(n)) % uint64(len(i.keys)))
		response, err := client.Get(fmt.Sprintf("http://%v/?key=%d", p.listener.Addr(), i.keys[at]))
		check(err)
		body, err := io.ReadAll(response.Body)
		check(errors.Join(err, response.Body.Close()))
		if want := strconv.FormatUint(i.values[at], 10); string(body) != want {
			log.Fatalf("key %d: %q, want %q", i.keys[at], body, want)
		}
	}
}

// end kills the workers and waits for them.
func (p *pool) end() {
	for _, process := range p.processes {
		check(process.Kill())
		_, err := process.Wait()
		check(err)
	}
	check(p.listener.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
