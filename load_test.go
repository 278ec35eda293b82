//go:build linux && cgo && (amd64 || arm64)

package rawfork_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// inEveryLoad runs a test with 1, 2 and 8 Ps, in an idle process, beside
// goroutines that allocate, and beside one garbage collection after another; under
// -short each of the three once.
func inEveryLoad(t *testing.T, test func(t *testing.T)) {
	for i, procs := range []int{1, 2, 8} {
		for j, load := range []struct {
			name string
			work func()
		}{
			{"idle", nil},
			{"busy", allocate},
			{"gc", runtime.GC},
		} {
			if testing.Short() && i != j {
				continue
			}
			t.Run(fmt.Sprintf("procs=%d/%s", procs, load.name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				var group sync.WaitGroup
				quit := make(chan struct{})
				defer func() { close(quit); group.Wait() }()
				for range 2 {
					if load.work == nil {
						break
					}
					group.Go(func() {
						for {
							select {
							case <-quit:
								return
							default:
								load.work()
							}
						}
					})
				}
				test(t)
			})
		}
	}
}

func allocate() {
	var list []*int
	for i := range 100 {
		list = append(list, new(int))
		*list[i] = i
	}
	runtime.KeepAlive(list)
}
