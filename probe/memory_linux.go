//go:build amd64 || arm64

package probe

import (
	"fmt"
	"reflect"
	"syscall"
	"unsafe"
)

// Load returns the value of the variable *v in the child's memory.
//
// The child has a copy of every variable that was there at its fork, at the same
// address. The variable has to be a global one or on the heap, since a
// goroutine's stack moves: the compiler sees to that by itself, because v
// escapes here. A variable that was made after the fork is not in the child:
// its address may hold anything there, or give EFAULT.
//
// T must be free of pointers (so no strings, slices, maps, interfaces), at any
// depth: what the child points to is not in this process. EINVAL says so.
func Load[T any](p *Probe, v *T) (T, error) {
	var got T
	addr, err := address(v)
	if err != nil {
		return got, fmt.Errorf("probe %d: load %T: %w", p.Pid(), v, err)
	}
	data, err := p.Peek(addr, int(unsafe.Sizeof(got)))
	if err != nil {
		return got, err
	}
	copy(bytesOf(&got), data)
	return got, nil
}

// Store sets the variable *v to value in the child's memory and leaves the
// parent's as it is. What [Load] says of v and T holds here too.
func Store[T any](p *Probe, v *T, value T) error {
	addr, err := address(v)
	if err != nil {
		return fmt.Errorf("probe %d: store %T: %w", p.Pid(), v, err)
	}
	return p.Poke(addr, bytesOf(&value))
}

func address[T any](v *T) (uintptr, error) {
	if err := pointerFree(reflect.TypeFor[T]()); err != nil {
		return 0, err
	}
	if v == nil {
		return 0, fmt.Errorf("nil pointer: %w", syscall.EINVAL)
	}
	return Addr(v), nil
}

// Addr is the address of *v in the parent, and in every child that was forked
// while v was there: for [Probe.Peek], [Probe.Poke] and arguments of
// [Probe.Syscall] that the call is to find in the child's own copy. As with
// [Load], v escapes to the heap.
func Addr[T any](v *T) uintptr {
	escape(unsafe.Pointer(v))
	return uintptr(unsafe.Pointer(v))
}

// escape has the compiler put what p points to on the heap.
//
//go:noinline
func escape(p unsafe.Pointer) {
	if alwaysFalse {
		escaped = p
	}
}

var (
	alwaysFalse bool
	//lint:ignore U1000 it is written to, for the effect
	escaped unsafe.Pointer
)

// Peek returns n bytes of the child's memory from addr on. A page that can't be
// read gives EFAULT. The read is an ordinary one: it leaves a page that parent
// and child still share shared.
func (p *Probe) Peek(addr uintptr, n int) ([]byte, error) {
	if n < 0 {
		return nil, fmt.Errorf("probe %d: peek %d bytes: %w", p.Pid(), n, syscall.EINVAL)
	}
	all := make([]byte, 0, min(n, 1<<20))
	for len(all) < n {
		at := addr + uintptr(len(all))
		size := uintptr(min(n-len(all), maxData))
		c := p.start(fmt.Sprintf("peek %#x", at), request{op: opMemory, out: region{at, size}}, nil, -1)
		if _, err := c.Wait(); err != nil {
			return nil, err
		}
		all = append(all, c.data...)
	}
	return all, nil
}

// Poke writes b to the child's memory from addr on. A page that can't be written
// gives EFAULT; what lies before it may have been written by then.
func (p *Probe) Poke(addr uintptr, b []byte) error {
	for len(b) > 0 {
		part := b[:min(len(b), maxData)]
		q := request{op: opMemory, in: region{addr, uintptr(len(part))}}
		if _, err := p.start(fmt.Sprintf("poke %#x", addr), q, part, -1).Wait(); err != nil {
			return err
		}
		addr += uintptr(len(part))
		b = b[len(part):]
	}
	return nil
}
