package child

import (
	"syscall"
	"unsafe"
)

// Line is a line of text that is put together piece by piece and written at
// once, so that what other processes write to the same stream can't come in
// between. It is a variable of the function that uses it; the zero value is the
// empty line. What goes beyond 120 bytes is cut off.
//
//	var line child.Line
//	line.Text("my pid is ").Int(child.Getpid()).Text("\n").Write(1)
type Line struct {
	n    int
	text [120]byte // small: a child's functions share some 800 bytes of stack
}

// Text adds s and returns the line.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (l *Line) Text(s string) *Line {
	p := unsafe.Pointer(unsafe.StringData(s))
	for i := 0; i < len(s); i++ {
		l.add(*(*byte)(unsafe.Add(p, i)))
	}
	return l
}

// Int adds v in decimal digits and returns the line.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (l *Line) Int(v int) *Line {
	var text digits
	for at := decimal(&text, v); at < len(text); at++ {
		l.add(*(*byte)(unsafe.Add(unsafe.Pointer(&text), at)))
	}
	return l
}

// Write writes the line to fd, in one write(2) where fd takes it whole, as pipes
// and files do, and empties it. Its results are those of the package's function
// [Write].
//
//go:nosplit
//go:norace
func (l *Line) Write(fd int) (n int, errno syscall.Errno) {
	length := l.n
	l.n = 0
	return write(fd, uintptr(unsafe.Pointer(&l.text)), length)
}

// add adds one byte. It indexes by hand: a bounds check brings in a call of the
// runtime.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (l *Line) add(c byte) {
	if l.n < len(l.text) {
		*(*byte)(unsafe.Add(unsafe.Pointer(&l.text), l.n)) = c
		l.n++
	}
}

// digits has room for every int in decimal digits: -1<<63 has 20 characters.
type digits [20]byte

// decimal writes v at the end of text, and returns where it begins. It divides by
// a constant only: by a variable the division brings in a call of the runtime.
//
//go:nosplit
//go:norace
//go:nocheckptr
func decimal(text *digits, v int) (at int) {
	u := uint(v)
	if v < 0 {
		u = -u
	}
	for at = len(text); ; u /= 10 {
		at--
		*(*byte)(unsafe.Add(unsafe.Pointer(text), at)) = byte('0' + u%10)
		if u < 10 {
			break
		}
	}
	if v < 0 {
		at--
		*(*byte)(unsafe.Add(unsafe.Pointer(text), at)) = '-'
	}
	return at
}
