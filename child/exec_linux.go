//go:build amd64 || arm64

package child

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Image is a program to exec, with its arguments and environment in the form
// that the kernel takes. The zero value can't be exec'd: Exec gives EFAULT.
type Image struct {
	path *byte
	argv []*byte // ends in nil
	env  []*byte // ends in nil
}

// PrepareImage makes an image for [Exec]. It allocates and belongs before the
// fork. argv[0] is the program's own name by custom; env is the whole
// environment in the form "name=value", [os.Environ] for the parent's.
//
// What can be known before the fork is said here: a path that doesn't exist
// (ENOENT), is too long (ENAMETOOLONG), is a directory (EISDIR), is no regular
// file or may not be executed by this process (EACCES), an empty argv, a NUL byte
// in a string (EINVAL). What only Exec can find is a file of a format that the
// kernel doesn't know (ENOEXEC), one that is open for writing (ETXTBSY), a
// missing interpreter (ENOENT), too much of arguments and environment (E2BIG),
// and whatever changed after the look.
//
// The path is not searched for in PATH. A relative one is looked at from the
// working directory of now, and exec'd from the child's.
func PrepareImage(path string, argv, env []string) (*Image, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("image %s: empty argv: %w", path, syscall.EINVAL)
	}
	image := new(Image)
	var err error
	if image.path, err = PrepareString(path); err != nil {
		return nil, fmt.Errorf("image path: %w", err)
	}
	if err := executable(path); err != nil {
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	if image.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return nil, fmt.Errorf("image %s: argument with a NUL byte: %w", path, err)
	}
	if image.env, err = syscall.SlicePtrFromStrings(env); err != nil {
		return nil, fmt.Errorf("image %s: environment with a NUL byte: %w", path, err)
	}
	return image, nil
}

// executable finds what execve would find wrong with the file at path itself.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return syscall.EISDIR // where execve says EACCES, less exactly
	default:
		return syscall.EACCES
	}
	// AT_EACCESS: execve asks the effective ids, access(2) the real ones.
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// PrepareString makes a string that ends in a NUL byte, for calls that take a
// path. It allocates and belongs before the fork. A string with a NUL byte in it
// gives EINVAL.
func PrepareString(s string) (*byte, error) {
	p, err := syscall.BytePtrFromString(s)
	if err != nil {
		return nil, fmt.Errorf("string %q with a NUL byte: %w", s, err)
	}
	return p, nil
}

// Exec wraps execve(2): the child becomes the program of the image. It returns
// only when that fails, with the reason. Close-on-exec descriptors are closed,
// the others stay; the signal mask and ignored signals stay too.
//
// Two things are not as syscall.ForkExec leaves them: descriptors keep their
// numbers, and RLIMIT_NOFILE keeps the soft limit that Go raised at its start.
// rawfork.ForkExec takes care of both.
//
//go:nosplit
//go:norace
func Exec(image *Image) syscall.Errno {
	if image == nil {
		return syscall.EFAULT
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVE,
		uintptr(unsafe.Pointer(image.path)),
		uintptr(unsafe.Pointer(unsafe.SliceData(image.argv))),
		uintptr(unsafe.Pointer(unsafe.SliceData(image.env))), 0, 0, 0)
	return errno
}
