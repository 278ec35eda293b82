//go:build cgo && (amd64 || arm64)

package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// turn does one piece of work. Of several starts it returns the medians.
func (p *process) turn(do turn) (map[string]float64, error) {
	switch do.Work {
	case workHold:
		return p.turnHold(do)
	case workParallel:
		return p.turnParallel(do)
	case workLatency:
		return p.turnLatency(do)
	}
	all := map[string][]float64{}
	for range do.Starts {
		if err := p.waitReady(); err != nil {
			return nil, err
		}
		before := usage()
		m, err := p.run(do)
		if err != nil {
			return nil, err
		}
		after := usage()
		for name, value := range map[string]int64{
			"wait":            m.ended - m.start,
			"return":          m.returned - m.start,
			"first":           m.first - m.start,
			"child-faults":    m.faults,
			"child-switches":  m.switches,
			"parent-faults":   after.Minflt - before.Minflt,
			"parent-switches": after.Nvcsw + after.Nivcsw - before.Nvcsw - before.Nivcsw,
		} {
			all[name] = append(all[name], float64(value))
		}
	}
	return medians(all), p.waitReady() // what boots in place of the last one is gone when others have their turn
}

// waitReady waits until the helper's children have booted, where there are to be any: a
// start is to find one, and none is to boot while another method is measured.
func (p *process) waitReady() error {
	if p.need.Ready == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	return p.helper.WaitReady(ctx)
}

func medians(all map[string][]float64) map[string]float64 {
	measured := map[string]float64{}
	for name, values := range all {
		measured[name] = interval(values).Median
	}
	return measured
}

// usage is what this process has used.
func usage() unix.Rusage {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u) // no argument of it can be wrong
	return u
}

// turnHold has the process write to its memory while a child lives or, where there
// is nothing to write, looks at the child.
func (p *process) turnHold(do turn) (map[string]float64, error) {
	if do.Pages > 0 && p.need.Memory == Huge {
		// A fork and a write split huge pages: each turn gets new ones.
		if err := p.renewHeap(); err != nil {
			return nil, err
		}
	}
	pid := 0
	if do.Method != "none" {
		var err error
		if pid, err = p.hold(do.Method); err != nil {
			return nil, err
		}
	}
	measured := map[string]float64{}
	if do.Pages > 0 {
		before, start := usage(), now()
		p.touch(do.Pages * 4 * kB)
		measured["write"] = float64(now() - start)
		measured["write-faults"] = float64(usage().Minflt - before.Minflt)
	} else {
		dir := fmt.Sprintf("/proc/%d/", pid)
		measured["tables"] = float64(kilobytes(dir+"status", "VmPTE:"))
		measured["shared"] = float64(kilobytes(dir+"smaps_rollup", "Shared_Clean:", "Shared_Dirty:"))
	}
	if pid == 0 {
		return measured, nil
	}
	return measured, p.release(pid)
}

// renewHeap gives the memory back and takes it anew.
func (p *process) renewHeap() error {
	if err := unix.Munmap(p.mapping); err != nil {
		return os.NewSyscallError("munmap", err)
	}
	return p.makeHeap()
}

// turnParallel starts as many programs at the same time as the turn has starts.
func (p *process) turnParallel(do turn) (map[string]float64, error) {
	returned := make([]float64, do.Starts)   // after its own start
	sinceAsked := make([]float64, do.Starts) // after that of all
	failed := make([]error, do.Starts)
	var group sync.WaitGroup
	start := now()
	for i := range do.Starts {
		group.Go(func() {
			m, err := p.run(do)
			returned[i], sinceAsked[i], failed[i] = float64(m.returned-m.start), float64(m.returned-start), err
		})
	}
	group.Wait()
	took := now() - start
	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		return nil, failed[i]
	}
	return map[string]float64{
		"each":   float64(took) / float64(do.Starts),
		"return": interval(returned).Median,
		"half":   interval(sinceAsked).Median,
	}, nil
}

// turnLatency watches one goroutine after the other during one start each.
func (p *process) turnLatency(do turn) (map[string]float64, error) {
	measured := map[string]float64{}
	for _, w := range watched {
		watch, err := w.begin()
		if err != nil {
			return nil, err
		}
		err = p.start(do)
		measured[w.measure] = float64(watch())
		if err != nil {
			return nil, err
		}
	}
	return measured, nil
}

// quiet is how long a goroutine is watched where no process is made: about as long
// as a start takes.
const quiet = 2 * time.Millisecond

func (p *process) start(do turn) error {
	switch do.Method {
	case "none":
		time.Sleep(quiet)
		return nil
	case "fork-only":
		_, err := p.runFork()
		return err
	}
	do.Work = workExec
	_, err := p.run(do)
	return err
}
