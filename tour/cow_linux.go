package tour

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rawfork"
	"rawfork/child"
	"rawfork/internal/pages"
)

const mega = 1 << 20

// cow: C14.
func cow(_ context.Context, l *Log) (string, error) {
	const size, written = 64 * mega, 16 * mega
	region, err := pages.InUse(size)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(region)
	r, w, err := l.pipe()
	if err != nil {
		return "", err
	}
	goOn, order, err := l.pipe()
	if err != nil {
		return "", err
	}
	l.say("the parent has %d MB of its own memory, and forks", size/mega)
	pid, err := l.adopt(forkCow(goOn, w, region[:written]))
	if err != nil {
		return "", err
	}
	l.close(w)
	if _, err := line(r); err != nil {
		return "", err
	}
	before, err := share(pid)
	if err != nil {
		return "", err
	}
	l.say("the child shares %3d MB with it, and has %2d MB for itself", before.shared/mega, before.private/mega)
	child.WriteString(order, "write\n")
	if _, err := line(r); err != nil {
		return "", err
	}
	after, err := share(pid)
	if err != nil {
		return "", err
	}
	l.say("the child writes to %d MB:", written/mega)
	l.say("the child shares %3d MB with it, and has %2d MB for itself", after.shared/mega, after.private/mega)
	l.close(order)
	if err := l.waitFor(pid, 0); err != nil {
		return "", err
	}
	for _, b := range region[:written] {
		if b == 2 {
			return "", fmt.Errorf("the child's %d is in the parent's memory", b)
		}
	}
	// Other pages of the child may be copied at any time, some hundred KB.
	grown := after.private - before.private
	if before.shared < size-mega || grown < written || grown > written+8*mega {
		return "", fmt.Errorf("before %+v, after %+v", before, after)
	}
	if err := forkTimes(l); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d MB were copied, those that were written to; the parent's are unchanged", grown/mega), nil
}

// forkTimes shows what fork takes with more and more memory.
func forkTimes(l *Log) error {
	for _, size := range []int{1, 64, 128} {
		region, err := pages.InUse(size * mega)
		if err != nil {
			return err
		}
		least := time.Hour
		for range 5 {
			start := time.Now()
			pid, err := l.adopt(forkExit(0))
			least = min(least, time.Since(start))
			if err == nil {
				err = l.waitFor(pid, 0)
			}
			if err != nil {
				unix.Munmap(region)
				return err
			}
		}
		unix.Munmap(region)
		l.say("a fork with %3d MB more takes %4.1f ms", size, float64(least.Microseconds())/1e3)
	}
	return nil
}

//go:norace
func forkCow(goOn, w int, region []byte) (pid int, err error) {
	pid, err = rawfork.Fork()
	if pid == 0 {
		var b [6]byte
		child.KeepOnly(goOn, w)
		child.WriteString(w, "ready\n")
		if n, _ := child.Read(goOn, b[:]); n <= 0 {
			child.Exit(1)
		}
		for i := range region {
			region[i] = 2
		}
		child.WriteString(w, "written\n")
		waitForEnd(goOn)
		child.Exit(0)
	}
	return pid, err
}

// resident is memory of a process in bytes: pages that others have too, and its
// own.
type resident struct{ shared, private int }

func share(pid int) (m resident, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m, err
	}
	for _, field := range []struct {
		name string
		sum  *int
	}{
		{"Shared_Clean:", &m.shared}, {"Shared_Dirty:", &m.shared},
		{"Private_Clean:", &m.private}, {"Private_Dirty:", &m.private},
	} {
		kb, err := number(string(text), field.name)
		if err != nil {
			return m, err
		}
		*field.sum += kb << 10
	}
	return m, nil
}
