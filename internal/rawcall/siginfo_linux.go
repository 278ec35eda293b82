package rawcall

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childInfo is siginfo_t as waitid(2) fills it in, of which package unix names the
// first fields only. On every architecture the union behind them begins at the next
// address that is aligned for a pointer.
type childInfo struct {
	_, _, _ int32 // the fields that package unix names
	_       [0]uintptr
	pid     int32
	uid     uint32
	status  int32
	_       [128]byte // more than is left of siginfo_t
}

// The codes of SIGCHLD, from bits/siginfo-consts.h.
const (
	cldExited = 1
	cldDumped = 3
)

// waitStatus is the status as wait4(2) encodes it.
func (c *childInfo) waitStatus() syscall.WaitStatus {
	const coreFlag = 0x80
	switch (*unix.Siginfo)(unsafe.Pointer(c)).Code {
	case cldExited:
		return syscall.WaitStatus(c.status & 0xff << 8)
	case cldDumped:
		return syscall.WaitStatus(c.status | coreFlag)
	}
	return syscall.WaitStatus(c.status)
}
