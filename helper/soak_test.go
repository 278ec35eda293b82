//go:build linux && cgo && (amd64 || arm64)

package helper_test

import (
	"cmp"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"rawfork/helper"
	"rawfork/internal/forktest"
	"rawfork/internal/ps"
)

// soakRequests is how many requests TestSoak makes; the environment may say
// another number, as make soak does.
const soakRequests = 300

// Many requests, of programs and of Go children that are ready or must boot, leave
// nothing: no memory, no descriptor and no process, here and in the helper.
func TestSoak(t *testing.T) {
	requests, err := strconv.Atoi(cmp.Or(os.Getenv("RAWFORK_SOAK_REQUESTS"), strconv.Itoa(soakRequests)))
	if err != nil {
		t.Fatal("RAWFORK_SOAK_REQUESTS:", err)
	}
	const ready = 2
	h := start(t, helper.Options{Ready: ready})
	program := forktest.ExitProgram(t)
	soak(t, h, program, 100) // what grows once
	before := measure(t, h, program)
	soak(t, h, program, requests)
	after := measure(t, h, program)
	t.Logf("%d requests: before %+v, after %+v", requests, before, after)

	if diff := gocmp.Diff(before.counts, after.counts); diff != "" {
		t.Errorf("open descriptors and children (-before +after):\n%s", diff)
	}
	if want := 6 + ready; after.HelperFDs != want || after.Children != 1+ready {
		t.Errorf("the helper has %d descriptors and we %d children, want %d and %d", after.HelperFDs, after.Children, want, 1+ready)
	}
	if grown := after.helperKB - before.helperKB; grown > 64 {
		t.Errorf("the helper has grown by %d kB", grown)
	}
	if grown := after.heapKB - before.heapKB; grown > 2048 {
		t.Errorf("our heap has grown by %d kB", grown)
	}
}

// soak makes n requests from four goroutines: of ten, seven for programs.
func soak(t *testing.T, h *helper.Helper, program string, n int) {
	var group sync.WaitGroup
	var made atomic.Int64
	for range 4 {
		group.Go(func() {
			for i := made.Add(1); i <= int64(n) && !t.Failed(); i = made.Add(1) {
				if i%10 < 7 {
					pid, err := h.ForkExec(program, nil, nil)
					if err != nil {
						t.Error(err)
						return
					}
					forktest.WantExit(t, pid, 0)
					continue
				}
				process, err := h.Go("count", os.Stdin)
				if err != nil {
					t.Error(err)
					return
				}
				wantExit(t, process, 1)
			}
		})
	}
	group.Wait()
}

type counts struct{ HelperFDs, FDs, Children int }

type measured struct {
	counts
	helperKB, heapKB int
}

func measure(t *testing.T, h *helper.Helper, program string) (m measured) {
	t.Helper()
	// The helper makes up for missing ready children before it serves a request.
	pid, err := h.ForkExec(program, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	forktest.WantExit(t, pid, 0)
	children, err := ps.Children(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	m.Children = len(children)
	m.HelperFDs, m.FDs = forktest.DescriptorsOf(t, h.Pid()), forktest.DescriptorsOf(t, os.Getpid())
	m.helperKB, err = strconv.Atoi(strings.TrimSuffix(status(t, h.Pid(), "RssAnon"), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	m.heapKB = int(memory.HeapAlloc >> 10)
	return m
}
