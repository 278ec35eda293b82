package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"rawfork"
	"rawfork/child"
	"rawfork/helper"
	"rawfork/internal/byhelper"
)

// Handler is a way to serve a connection in a child of its own. It is made by
// [Fork], by [Go], or is a [Program].
type Handler interface {
	// prepare finds at the start what would fail for each connection, and returns what
	// makes the child of one. The connection stays the caller's.
	prepare(endWithServer bool) (starter, error)
}

// starter makes the child that serves a connection, and returns its pid. The
// descriptor, which is blocking, stays the caller's.
type starter func(fd int, from *peer, options childOptions) (pid int, err error)

// childOptions are a Server's wishes as to its children.
type childOptions struct {
	endWithParent bool // by PDEATHSIG: the calling thread must be there to stay
	parent        int  // this process
}

// Fork is a handler that runs a constrained function in a child of rawfork.Fork:
// [child.Echo], [child.Discard], or one's own that is marked go:nosplit and go:norace.
// It may have up to 500 bytes of variables; see package child. The child
// has the descriptors 0, 1, 2 and the connection, which is blocking, and exits with
// status 0 when the function returns.
func Fork(handler func(fd int)) Handler { return forkHandler(handler) }

type forkHandler func(fd int)

func (h forkHandler) prepare(bool) (starter, error) {
	if h == nil {
		return nil, fmt.Errorf("fork: nil handler: %w", syscall.EINVAL)
	}
	return h.start, nil
}

// Program is a handler that starts a program for each connection, as inetd(8) does:
// the connection, which is blocking, is its standard input and output. Other descriptors
// of this process, but for 2, it has only if they aren't close-on-exec. It leads a
// process group.
type Program struct {
	Path string   // of the program; one without a slash is looked for in PATH, at the start
	Args []string // without the program's name

	// Env is the environment, nil for this process's own. REMOTE_ADDR and
	// REMOTE_PORT are added, as systemd does: the peer's address and, for TCP, port.
	Env []string
	Dir string // the working directory, "" for this process's own

	// Stderr makes the connection the program's standard error, too.
	Stderr bool

	// Method starts the program. The zero value is ByFork; with a large heap ByHelper
	// or ByVfork cost less. BySpawn can't do EndWithServer.
	Method rawfork.Method
}

func (p *Program) prepare(endWithServer bool) (starter, error) {
	path, err := exec.LookPath(p.Path)
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	if p.Method == rawfork.ByHelper && byhelper.ForkExec() == nil {
		return nil, fmt.Errorf("program %s by %v: %w", p.Path, p.Method, rawfork.ErrNoHelper)
	}
	if p.Method == rawfork.BySpawn && endWithServer {
		return nil, fmt.Errorf("program %s by %v: EndWithServer: %w", p.Path, p.Method, errors.ErrUnsupported)
	}
	argv := append([]string{p.Path}, p.Args...)
	if _, err = child.PrepareImage(path, argv, p.Env); err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	if p.Dir != "" {
		info, err := os.Stat(p.Dir)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return nil, fmt.Errorf("program: directory %s: %w", p.Dir, err)
		}
	}
	return func(fd int, from *peer, options childOptions) (int, error) {
		return p.start(path, argv, fd, from, options)
	}, nil
}

// env is the environment for a peer.
func (p *Program) env(peer net.Addr) []string {
	env := p.Env
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		return strings.HasPrefix(entry, "REMOTE_ADDR=") || strings.HasPrefix(entry, "REMOTE_PORT=")
	})
	if peer == nil {
		return env
	}
	host, port, err := net.SplitHostPort(peer.String())
	if err != nil {
		return append(env, "REMOTE_ADDR="+peer.String()) // a path, or nothing
	}
	return append(env, "REMOTE_ADDR="+host, "REMOTE_PORT="+port)
}

// Go is a handler that runs the function that was registered with the helper under
// that name (see [helper.Register]) in a child of h: an ordinary Go program. The
// function's only file is the connection; net.FileConn makes a net.Conn of it.
//
// With Options.Ready the helper keeps children booted ahead, which makes the start a
// matter of microseconds. Options.EndWithParent is the helper's own.
func Go(h *helper.Helper, name string) Handler { return &goHandler{h, name} }

type goHandler struct {
	helper *helper.Helper
	name   string
}

func (h *goHandler) prepare(bool) (starter, error) {
	if h.helper == nil {
		return nil, fmt.Errorf("go %s: nil helper: %w", h.name, syscall.EINVAL)
	}
	if err := h.helper.Err(); err != nil {
		return nil, fmt.Errorf("go %s: %w", h.name, err)
	}
	if !helper.Registered(h.name) {
		return nil, fmt.Errorf("go %s: no function is registered by that name: %w", h.name, syscall.ENOENT)
	}
	return h.start, nil
}

// Table is a table of handlers by name, of which a program's user chooses one.
type Table map[string]Handler

// Find returns the handler of that name. ENOENT says that there is none, and names
// those that there are; EINVAL that it is nil.
func (t Table) Find(name string) (Handler, error) {
	handler, ok := t[name]
	if !ok {
		var names []string
		for name := range t {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("handler %q is not one of %q: %w", name, names, syscall.ENOENT)
	}
	if handler == nil {
		return nil, fmt.Errorf("handler %q is nil: %w", name, syscall.EINVAL)
	}
	return handler, nil
}
