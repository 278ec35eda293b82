//go:build cgo && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

// Exit statuses of a child that never came to its function.
const (
	exitNoTask     = 126 // the task couldn't be taken
	exitNoFunction = 127 // no such function in this program
)

// Init is where a Go child leaves the program's ordinary path. In the program
// itself it only notes that it was called, which [Start] asks for. In a child it
// runs the child's function and exits with its result; it doesn't return.
//
// It must be the first call in main, and in TestMain for tests.
func Init() {
	markInitialised()
	if role() != roleProgram {
		os.Exit(runTask())
	}
}

// runTask is the life of a Go child.
func runTask() int {
	body, fds, ok, err := task()
	if err != nil {
		fmt.Fprintf(os.Stderr, "rawfork helper: child %d: task: %v\n", os.Getpid(), err)
		return exitNoTask
	}
	if !ok { // the helper has ended, and the program with it
		return 0
	}
	request := decodeGo(body)
	if request.hasEnv {
		os.Clearenv()
		for _, entry := range request.env {
			name, value, _ := strings.Cut(entry, "=")
			// What it refuses (an empty name, as of "=x") os.Getenv in the parent
			// doesn't find either.
			_ = os.Setenv(name, value)
		}
	}
	fn := registered(request.name)
	if fn == nil {
		fmt.Fprintf(os.Stderr, "rawfork helper: child %d: no function %q is registered before helper.Init\n",
			os.Getpid(), request.name)
		return exitNoFunction
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), fmt.Sprintf("%s-file-%d", request.name, i))
	}
	return fn(files)
}

// goRequest is the body of a request for a Go child.
type goRequest struct {
	flags  uint32
	name   string
	hasEnv bool
	env    []string
}

const goHeaderLen = 16 // sizeof(struct rf_go)

// encode is decodeGo's other half.
func (r *goRequest) encode() []byte {
	var env strings.Builder
	flags := r.flags
	if r.hasEnv {
		flags |= goEnv
		for _, entry := range r.env {
			env.WriteString(entry)
			env.WriteByte(0)
		}
	}
	body := make([]byte, goHeaderLen, goHeaderLen+len(r.name)+env.Len())
	binary.NativeEndian.PutUint32(body[0:], flags)
	binary.NativeEndian.PutUint32(body[4:], uint32(len(r.name)))
	binary.NativeEndian.PutUint32(body[8:], uint32(env.Len()))
	body = append(body, r.name...)
	return append(body, env.String()...)
}

// decodeGo takes a body apart that rf_go_check has found well-formed.
func decodeGo(body []byte) goRequest {
	flags := binary.NativeEndian.Uint32(body[0:])
	nameLen := binary.NativeEndian.Uint32(body[4:])
	r := goRequest{
		flags:  flags,
		name:   string(body[goHeaderLen : goHeaderLen+nameLen]),
		hasEnv: flags&goEnv != 0,
	}
	if env := string(body[goHeaderLen+nameLen:]); env != "" {
		r.env = strings.Split(strings.TrimSuffix(env, "\x00"), "\x00")
	}
	return r
}
