//go:build cgo && (amd64 || arm64)

package compare

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rawfork/helper"
)

// A process is the state of a measuring process.
type process struct {
	need    setup
	mapping []byte // what heap is in
	heap    []byte
	helper  *helper.Helper

	null   *os.File // /dev/null: a started process's descriptors 0 to 2
	stampR *os.File // where a started process's time arrives
	stampW *os.File // its descriptor 3
	holdR  *os.File // what a held process reads, its descriptor 4
	holdW  *os.File // a byte here ends it
	shared []byte   // a page that a forked child shares with its parent
}

// prepare makes this process what the setup says, and then takes the memory, so
// that what comes before is made by a small process.
func prepare(need setup) (*process, error) {
	// No collection starts by itself in the middle of a turn.
	debug.SetGCPercent(-1)
	p := &process{need: need}
	for _, step := range []func() error{p.openFiles, p.startHelper, p.makeThreads, p.makeMappings, p.makeDescriptors, p.makeHeap} {
		if err := step(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *process) close() {
	if p.helper != nil {
		p.helper.Close()
	}
}

// openFiles opens what started processes use, at numbers that are out of the way
// of theirs.
func (p *process) openFiles() (err error) {
	// What this process was started with stays with it. An old kernel can't do that.
	unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if p.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	if p.shared, err = unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if p.stampR, p.stampW, err = pipe(); err != nil {
		return err
	}
	p.holdR, p.holdW, err = pipe()
	return err
}

// pipe is a pipe of blocking descriptors above 9.
func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	for i, fd := range fds {
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
		if err != nil {
			return nil, nil, os.NewSyscallError("fcntl", err)
		}
		unix.Close(fd)
		fds[i] = high
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

func (p *process) startHelper() (err error) {
	if p.need.Helper {
		p.helper, err = helper.Start(helper.Options{Ready: p.need.Ready})
	}
	return err
}

// makeThreads makes threads that wait for ever.
func (p *process) makeThreads() error {
	if p.need.Threads == 0 {
		return nil
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	if limit, ok := number("/proc/sys/kernel/threads-max"); ok && int64(p.need.Threads) > limit/2 {
		return &lackError{fmt.Sprintf("%d threads: kernel.threads-max is %d", p.need.Threads, limit)}
	}
	ready := make(chan struct{})
	for range max(0, p.need.Threads-len(tasks)) {
		go func() {
			runtime.LockOSThread()
			ready <- struct{}{}
			select {}
		}()
		<-ready
	}
	return nil
}

// makeMappings makes mappings of one page that the kernel can't merge, since their
// protection takes turns; those that can be written have their page.
func (p *process) makeMappings() error {
	if p.need.Mappings == 0 {
		return nil
	}
	if limit, ok := number("/proc/sys/vm/max_map_count"); ok && int64(p.need.Mappings) > limit-1000 {
		return &lackError{fmt.Sprintf("%d mappings: vm.max_map_count is %d", p.need.Mappings, limit)}
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, p.need.Mappings*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return &lackError{fmt.Sprintf("mmap for %d mappings: %v", p.need.Mappings, err)}
	}
	unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(memory); i += page {
		if i/page%2 == 0 {
			memory[i] = 1
		} else if err := unix.Mprotect(memory[i:i+page], unix.PROT_READ); err != nil {
			return &lackError{fmt.Sprintf("mapping %d: mprotect: %v", i/page, err)}
		}
	}
	return nil
}

// makeDescriptors opens descriptors, all close-on-exec as those of Go are.
func (p *process) makeDescriptors() error {
	if p.need.Descriptors == 0 {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && uint64(p.need.Descriptors)+64 > limit.Cur {
		return &lackError{fmt.Sprintf("%d descriptors: RLIMIT_NOFILE is %d", p.need.Descriptors, limit.Cur)}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for range p.need.Descriptors - len(open) {
		if _, err := unix.FcntlInt(p.null.Fd(), unix.F_DUPFD_CLOEXEC, 10); err != nil {
			return &lackError{fmt.Sprintf("%d descriptors: %v", p.need.Descriptors, err)}
		}
	}
	return nil
}

// hugePage is the size that huge memory is made a multiple of.
const hugePage = 2 << 20

// makeHeap takes the memory and touches each page of it.
func (p *process) makeHeap() error {
	size := int(p.need.Heap)
	memory, err := unix.Mmap(-1, 0, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if errors.Is(err, syscall.ENOMEM) {
		return &lackError{fmt.Sprintf("mmap %s: %v", bytesText(float64(size)), err)}
	} else if err != nil {
		return fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	advice := unix.MADV_NOHUGEPAGE
	if p.need.Memory == Huge {
		advice = unix.MADV_HUGEPAGE
	}
	if err := unix.Madvise(memory, advice); err != nil && p.need.Memory == Huge {
		return &lackError{fmt.Sprintf("the kernel has no huge pages: madvise: %v", err)}
	}
	p.mapping, p.heap = memory, aligned(memory)[:size]
	p.touch(len(p.heap))
	switch p.need.Memory {
	case Huge:
		if got := hugeBytes(); got < p.need.Heap/10*9 {
			return &lackError{fmt.Sprintf("the kernel gave huge pages for %s of %s only", bytesText(float64(got)), bytesText(float64(size)))}
		}
	case DontFork:
		if err := unix.Madvise(memory, unix.MADV_DONTFORK); err != nil {
			return fmt.Errorf("madvise MADV_DONTFORK: %w", err)
		}
	}
	return nil
}

// aligned is memory from its first multiple of a huge page on.
func aligned(memory []byte) []byte {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	return memory[(hugePage-address%hugePage)%hugePage:]
}

// touch writes to each page of the first bytes of the memory.
func (p *process) touch(bytes int) {
	for i := 0; i < bytes; i += os.Getpagesize() {
		p.heap[i]++
	}
}

// hugeBytes is how much of this process's memory is in huge pages.
func hugeBytes() int64 { return kilobytes("/proc/self/smaps_rollup", "AnonHugePages:") }

// kilobytes sums the values of the lines of a file that begin with the names, in
// bytes.
func kilobytes(file string, names ...string) (sum int64) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		for _, name := range names {
			if len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
				n, _ := strconv.ParseInt(fields[1], 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}
