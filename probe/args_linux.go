//go:build amd64 || arm64

package probe

import (
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"unsafe"
)

// arguments are those of a system call, laid out for the child.
type arguments struct {
	values [6]uintptr
	data   []byte // goes to scratch and, when back isn't empty, comes back
	back   []copyBack
}

// copyBack is memory of the parent that gets what the child has at data[at:].
type copyBack struct {
	dst []byte
	at  int
}

// align is how the memory arguments are laid out in scratch: as malloc does.
const align = 16

// layout gives every argument its value, and a place in scratch to those that
// are memory. scratch is its address, the same in parent and child.
func layout(args []any, scratch uintptr) (*arguments, error) {
	a := new(arguments)
	if len(args) > len(a.values) {
		return nil, fmt.Errorf("%d arguments, want at most %d: %w", len(args), len(a.values), syscall.EINVAL)
	}
	for i, arg := range args {
		value, memory, err := argument(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		if memory == nil {
			a.values[i] = value
			continue
		}
		at := (len(a.data) + align - 1) &^ (align - 1)
		if at+len(memory) > maxData {
			return nil, fmt.Errorf("argument %d: more than %d bytes of memory in one call: %w", i+1, maxData, syscall.EMSGSIZE)
		}
		a.data = append(a.data, make([]byte, at-len(a.data))...)
		a.data = append(a.data, memory...)
		a.values[i] = scratch + uintptr(at)
		if _, in := arg.(string); !in {
			a.back = append(a.back, copyBack{memory, at})
		}
	}
	return a, nil
}

// argument is either a value or memory: never nil, if it is that.
func argument(arg any) (value uintptr, memory []byte, err error) {
	v := reflect.ValueOf(arg)
	switch v.Kind() {
	case reflect.Invalid: // nil
		return 0, nil, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return uintptr(v.Int()), nil, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return uintptr(v.Uint()), nil, nil
	case reflect.String:
		s := v.String()
		if strings.IndexByte(s, 0) >= 0 {
			return 0, nil, fmt.Errorf("string %q with a NUL byte: %w", s, syscall.EINVAL)
		}
		return 0, append([]byte(s), 0), nil
	case reflect.Slice, reflect.Pointer:
		if err := pointerFree(v.Type().Elem()); err != nil {
			return 0, nil, err
		}
		if v.IsNil() {
			return 0, nil, nil
		}
		n := v.Type().Elem().Size()
		if v.Kind() == reflect.Slice {
			n *= uintptr(v.Len())
		}
		return 0, unsafe.Slice((*byte)(v.UnsafePointer()), n), nil
	}
	return 0, nil, fmt.Errorf("a %T is no integer, string, slice or pointer: %w", arg, syscall.EINVAL)
}

// copyBack puts what came back into the parent's memory.
func (a *arguments) copyBack(data []byte) {
	for _, b := range a.back {
		copy(b.dst, data[b.at:])
	}
}

// pointerFree returns an error when values of type t have pointers in them: the
// child's pointers mean nothing here, and ours nothing to the collector there.
func pointerFree(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Bool, reflect.Uintptr,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	case reflect.Array:
		return pointerFree(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if err := pointerFree(t.Field(i).Type); err != nil {
				return fmt.Errorf("%v: field %s: %w", t, t.Field(i).Name, err)
			}
		}
		return nil
	}
	return fmt.Errorf("type %v has a pointer: %w", t, syscall.EINVAL)
}
