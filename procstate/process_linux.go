package procstate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// The bounds on what is read of one file: far above what the kernel writes, so
// that one that is exceeded is an error and never a value cut short.
const (
	maxText = 16 << 20  // 65,536 groups are 720 KB, argv and env 6 MB
	maxMaps = 256 << 20 // 65,530 mappings of 800 bytes are 50 MB
)

// A process is one that is being read.
type process struct {
	path string   // its directory in /proc
	dir  *os.File // that directory, which stays this process's when its pid is given away
	self bool
	fs   procfs.Proc // procfs's view, by path
}

// openProcess opens the directory of a process: name is a pid or "self".
func openProcess(name string) (*process, error) {
	p := &process{path: "/proc/" + name}
	fd, err := unix.Open(p.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: err}
	}
	p.dir = os.NewFile(uintptr(fd), p.path)
	return p, nil
}

func (p *process) close() { p.dir.Close() }

func (p *process) error(op, name string, err error) error {
	return &os.PathError{Op: op, Path: p.path + "/" + name, Err: err}
}

func (p *process) open(name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(p.dir.Fd()), name, flags|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, p.error("open", name, err)
		}
		return os.NewFile(uintptr(fd), p.path+"/"+name), nil
	}
}

// read reads a file of the process whole.
func (p *process) read(name string, limit int64) ([]byte, error) {
	f, err := p.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = p.error("read", name, unix.EFBIG)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// readLine reads a file of one line, without the newline at its end.
func (p *process) readLine(name string) (string, error) {
	text, err := p.read(name, maxText)
	return string(bytes.TrimSuffix(text, []byte("\n"))), err
}

// list names the entries of a directory of the process.
func (p *process) list(name string) ([]string, error) {
	d, err := p.open(name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// readlink reads a link of the process whole: the kernel gives up to a page.
func (p *process) readlink(name string) (string, error) {
	buf := make([]byte, 2*unix.PathMax)
	n, err := unix.Readlinkat(int(p.dir.Fd()), name, buf)
	if err != nil {
		return "", p.error("readlink", name, err)
	}
	return string(buf[:n]), nil
}

// deletedSuffix is what the kernel puts behind a path that leads nowhere any more.
const deletedSuffix = " (deleted)"

// link reads a link and tells whether its file was deleted.
func (p *process) link(name string) (Path, error) {
	target, err := p.readlink(name)
	if err != nil {
		return Path{}, err
	}
	if !strings.HasSuffix(target, deletedSuffix) {
		return Path{Name: target}, nil
	}
	var file unix.Stat_t
	if err := unix.Fstatat(int(p.dir.Fd()), name, &file, 0); err != nil {
		return Path{}, p.error("stat", name, err)
	}
	return p.undelete(target, file.Dev, file.Ino), nil
}

// undelete takes off the suffix, unless there is a file of just that name, seen
// from the process's root, and it is the one that is meant.
func (p *process) undelete(target string, dev, ino uint64) Path {
	plain, deleted := strings.CutSuffix(target, deletedSuffix)
	if !deleted {
		return Path{Name: target}
	}
	var named unix.Stat_t
	err := unix.Fstatat(int(p.dir.Fd()), "root"+target, &named, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && strings.HasPrefix(target, "/") && named.Dev == dev && named.Ino == ino {
		return Path{Name: target}
	}
	return Path{Name: plain, Deleted: true}
}

// gone tells whether err is how /proc says that the process is no more.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
}

// openError makes the error of a process whose directory can't be opened. With
// the mount option hidepid it isn't there for who may not read it.
func openError(name string, pid int, err error) error {
	if !gone(err) {
		return fmt.Errorf("procstate: read %s: %w", name, err)
	}
	if pid > 0 && unix.Kill(pid, 0) != unix.ESRCH {
		return fmt.Errorf("procstate: read %s: /proc hides it: %w", name, unix.EACCES)
	}
	return fmt.Errorf("procstate: read %s: %w", name, errGone)
}
