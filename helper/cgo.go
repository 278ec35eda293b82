//go:build linux && cgo && (amd64 || arm64)

package helper

// #cgo CFLAGS: -Wall -Wextra -Werror -I${SRCDIR}/../internal/plan
// #include "server.h"
// #include "state.h"
import "C"
import (
	"syscall"
	"unsafe"
)

// This file only gives C names to Go: everything else in the package is free of
// import "C".

const (
	roleProgram    = C.RF_PROGRAM
	roleChild      = C.RF_CHILD
	roleReadyChild = C.RF_READY_CHILD

	typeHello   = C.RF_HELLO
	typeGo      = C.RF_GO
	typeExec    = C.RF_EXEC
	typeInherit = C.RF_INHERIT
	typePidFD   = C.RF_PIDFD
	typeReply   = C.RF_REPLY
	typeWaiting = C.RF_WAITING
	typeLost    = C.RF_LOST
	typeBooted  = C.RF_BOOTED

	goDir = C.RF_GO_DIR
	goEnv = C.RF_GO_ENV
	goEnd = C.RF_GO_END

	inheritDir    = C.RF_INHERIT_DIR
	inheritCancel = C.RF_INHERIT_CANCEL

	limits  = C.RF_LIMITS
	nsFiles = C.RF_NAMESPACES
	notOpen = C.RF_NOT_OPEN

	magic       = C.RF_MAGIC
	wireVersion = C.RF_VERSION
	chunk       = C.RF_CHUNK
	maxBody     = C.RF_BODY
	maxFDs      = C.RF_FDS
	nonceLen    = C.RF_NONCE
	markName    = C.RF_MARK
	title       = C.RF_TITLE
)

// role is what the constructor made of this process.
func role() int { return int(C.rf_role()) }

// task waits for this child's task. ok is false when the helper has ended.
func task() (body []byte, fds []int, ok bool, err error) {
	var m C.struct_rf_message
	switch r := C.rf_task(&m); {
	case r < 0:
		return nil, nil, false, syscall.Errno(-r)
	case r == 0:
		return nil, nil, false, nil
	}
	for _, fd := range m.fds[:m.header.nfds] {
		fds = append(fds, int(fd))
	}
	return C.GoBytes(unsafe.Pointer(m.body), C.int(m.header.length)), fds, true, nil
}

type (
	cInt    = C.int32_t
	cUint   = C.uint32_t
	cUint64 = C.uint64_t
)

// born is what the helper shares with us of the start of a program.
type born C.struct_rf_born

// execHeader is what stands ahead of the plan in an exec request.
type execHeader = C.struct_rf_exec

// inherited is the message that follows an exec request.
type inherited = C.struct_rf_inherit

// readState calls rf_state_read.
func readState(pid int, text []byte) (n int, err error) {
	n = int(C.rf_state_read(C.int32_t(pid), (*C.char)(unsafe.Pointer(unsafe.SliceData(text))), C.size_t(len(text))))
	if n < 0 {
		return 0, syscall.Errno(-n)
	}
	return n, nil
}

// allLimits are soft and hard limits by the kernel's numbers.
type allLimits = [limits][2]C.uint64_t

// readLimits calls rf_limits_read.
func readLimits(pid int) (limits allLimits, err error) {
	if r := C.rf_limits_read(C.int32_t(pid), &limits[0]); r != 0 {
		err = syscall.Errno(-r)
	}
	return limits, err
}

// checkExec is the helper's check of the body of an exec request.
func checkExec(body []byte, nfds uint32) error {
	r := C.rf_exec_check((*C.uint8_t)(unsafe.SliceData(body)), C.size_t(len(body)), C.uint32_t(nfds))
	if r != 0 {
		return syscall.Errno(-r)
	}
	return nil
}

// receive is the helper's way to receive one message: its body, nil at the end of the
// connection. The message's descriptors are closed.
func receive(sock int) (body []byte, err error) {
	var m C.struct_rf_message
	if r := C.rf_receive(C.int(sock), &m); r < 0 {
		return nil, syscall.Errno(-r)
	} else if r == 0 {
		return nil, nil
	}
	defer C.rf_message_free(&m)
	return C.GoBytes(unsafe.Pointer(m.body), C.int(m.header.length)), nil
}

// checkGo is the helper's check of the body of a Go request.
func checkGo(body []byte, nfds uint32) error {
	r := C.rf_go_check((*C.uint8_t)(unsafe.SliceData(body)), C.size_t(len(body)), C.uint32_t(nfds))
	if r != 0 {
		return syscall.Errno(-r)
	}
	return nil
}
