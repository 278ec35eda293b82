//go:build cgo && (amd64 || arm64)

package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// startNofile is the RLIMIT_NOFILE that package syscall found at the start, if it
// was raised there.
var startNofile = sync.OnceValues(func() (limit syscall.Rlimit, raised bool) {
	limit, ok := firstNofile()
	return limit, ok && limit.Max > 0 && limit.Cur < limit.Max-1
})

// Cloneflags are the clone flags that a plan may have: the namespaces, and what
// stays within the child.
const Cloneflags = planClone

// Compile puts a call of syscall.ForkExec into the bytes of a plan (see plan.h). As
// there, a nil Env is no environment.
// An [*Error] names the attribute that is at fault.
func Compile(argv0 string, argv []string, attr *syscall.ProcAttr) ([]byte, error) {
	sys := attr.Sys
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	if err := checkAttributes(attr, sys); err != nil {
		return nil, err
	}
	header := planHeader(sys)
	fds, files := splitFiles(attr.Files)
	if sys.Foreground {
		header.ctty = cInt(len(fds))
		fds = append(fds, int32(sys.Ctty))
	}
	if sys.UseCgroupFD {
		header.cgroup = cInt(len(fds))
		fds = append(fds, int32(sys.CgroupFD))
	}
	strs := planTexts(argv0, argv, attr, sys)
	if i := firstNUL(strs); i >= 0 {
		return nil, &Error{stringName(i, len(argv)), syscall.EINVAL}
	}
	header.argc, header.envc = cUint(len(argv)), cUint(len(attr.Env))
	return layOut(header, fds, files, sys, strs)
}

// FDs returns the descriptors that a plan speaks of, numbered as in the process
// that is to run it, in the plan's own bytes: whoever passes a plan to another
// process passes these descriptors, and the receiver writes its numbers here.
func FDs(plan []byte) []int32 {
	header := (*cPlan)(unsafe.Pointer(unsafe.SliceData(plan)))
	return unsafe.Slice((*int32)(unsafe.Add(unsafe.Pointer(header), unsafe.Sizeof(*header))), header.nfds)
}

// Cgroup returns which of FDs is the cgroup's, or -1 when the plan asks for none.
func Cgroup(plan []byte) int {
	header := (*cPlan)(unsafe.Pointer(unsafe.SliceData(plan)))
	if header.flags&planCgroup == 0 {
		return -1
	}
	return int(header.cgroup)
}

// checkAttributes finds what can't be put into a plan, or would end otherwise than
// by an errno of the step that it is for.
func checkAttributes(attr *syscall.ProcAttr, sys *syscall.SysProcAttr) error {
	for i, fd := range attr.Files {
		if fd > math.MaxInt32 && fd != noFile {
			return &Error{"Files[" + strconv.Itoa(i) + "]", syscall.EBADF}
		}
	}
	for i, c := range sys.AmbientCaps {
		if c > 63 {
			return &Error{"AmbientCaps[" + strconv.Itoa(i) + "]", syscall.EINVAL}
		}
	}
	switch {
	case sys.Setctty && sys.Foreground:
		return &Error{"Setctty and Foreground", fmt.Errorf("both set: %w", syscall.EINVAL)}
	case sys.Setctty && sys.Ctty >= len(attr.Files):
		//lint:ignore ST1005 it begins with the name of an attribute
		return &Error{"Setctty", fmt.Errorf("Ctty is %d of %d files: %w", sys.Ctty, len(attr.Files), syscall.EINVAL)}
	case (sys.Setctty || sys.Foreground) && (sys.Ctty < 0 || sys.Ctty > math.MaxInt32):
		return &Error{"Ctty", syscall.EBADF}
	case sys.UseCgroupFD && (sys.CgroupFD < 0 || sys.CgroupFD > math.MaxInt32):
		return &Error{"CgroupFD", syscall.EINVAL} // as clone3 says
	case sys.Pdeathsig < 0 || sys.Pdeathsig > 64:
		return &Error{"Pdeathsig", syscall.EINVAL}
	case uint64(sys.Cloneflags)&^Cloneflags != 0:
		return &Error{"Cloneflags", fmt.Errorf("%#x: %w", uint64(sys.Cloneflags)&^Cloneflags, errors.ErrUnsupported)}
	}
	return nil
}

// planHeader is what follows from sys alone.
func planHeader(sys *syscall.SysProcAttr) cPlan {
	limit, raised := startNofile()
	header := cPlan{
		magic:        planMagic,
		pgid:         cInt(sys.Pgid),
		ctty:         cInt(sys.Ctty),
		pdeathsig:    cInt(sys.Pdeathsig),
		cloneflags:   cUint64(sys.Cloneflags),
		unshareflags: cUint64(sys.Unshareflags),
		nofile_cur:   cUint64(limit.Cur),
		nofile_max:   cUint64(limit.Max),
	}
	if sys.Pdeathsig != 0 {
		header.ppid = cInt(syscall.Getpid())
	}
	setgroups := false
	if cred := sys.Credential; cred != nil {
		header.uid, header.gid = cUint(cred.Uid), cUint(cred.Gid)
		denied := sys.GidMappings != nil && !sys.GidMappingsEnableSetgroups && len(cred.Groups) == 0
		setgroups = !denied && !cred.NoSetGroups
	}
	for _, flag := range []struct {
		set bool
		bit uint32
	}{
		{sys.Setsid, planSetsid},
		{sys.Setpgid, planSetpgid},
		{sys.Foreground, planForeground},
		{sys.Setctty, planSetctty},
		{sys.Noctty, planNoctty},
		{sys.Ptrace, planPtrace},
		{sys.Credential != nil, planCredential},
		{setgroups, planSetgroups},
		{sys.UidMappings != nil, planUidMap},
		{sys.GidMappings != nil, planGidMap},
		{sys.GidMappingsEnableSetgroups, planAllowSetgroups},
		{sys.UseCgroupFD, planCgroup},
		{sys.PidFD != nil, planPidFD},
		{raised, planNofile},
	} {
		if flag.set {
			header.flags |= cUint(flag.bit)
		}
	}
	return header
}

// noFile stands in Files for a descriptor that is to be closed.
const noFile = ^uintptr(0)

// splitFiles splits Files into the distinct descriptors and, for each file, the
// index of its descriptor, or -1 for one that is to be closed.
func splitFiles(of []uintptr) (fds, files []int32) {
	index := map[uintptr]int32{}
	for _, fd := range of {
		if fd == noFile {
			files = append(files, -1)
			continue
		}
		i, seen := index[fd]
		if !seen {
			i = int32(len(fds))
			index[fd] = i
			fds = append(fds, int32(fd))
		}
		files = append(files, i)
	}
	return fds, files
}

// planTexts are the strings of a plan, in their order.
func planTexts(argv0 string, argv []string, attr *syscall.ProcAttr, sys *syscall.SysProcAttr) []string {
	strs := make([]string, 0, planStrings+len(argv)+len(attr.Env))
	strs = append(strs, argv0, attr.Dir, sys.Chroot, idMap(sys.UidMappings), idMap(sys.GidMappings))
	strs = append(strs, argv...)
	return append(strs, attr.Env...)
}

// idMap is the text of a uid_map or gid_map file.
func idMap(mappings []syscall.SysProcIDMap) string {
	var text []byte
	for _, m := range mappings {
		text = strconv.AppendInt(text, int64(m.ContainerID), 10)
		text = strconv.AppendInt(append(text, ' '), int64(m.HostID), 10)
		text = strconv.AppendInt(append(text, ' '), int64(m.Size), 10)
		text = append(text, '\n')
	}
	return string(text)
}

func firstNUL(strs []string) int {
	for i, s := range strs {
		if strings.IndexByte(s, 0) >= 0 {
			return i
		}
	}
	return -1
}

// stringName names the string i of a plan, as an error does.
func stringName(i, argc int) string {
	names := [planStrings]string{"path", "Dir", "Chroot", "UidMappings", "GidMappings"}
	switch {
	case i < planStrings:
		return names[i]
	case i < planStrings+argc:
		return "argv[" + strconv.Itoa(i-planStrings) + "]"
	}
	return "Env[" + strconv.Itoa(i-planStrings-argc) + "]"
}

// layOut writes the sections one after the other. The buffer is made of words,
// so that it starts at a multiple of 8.
func layOut(header cPlan, fds, files []int32, sys *syscall.SysProcAttr, strs []string) ([]byte, error) {
	var groups []uint32
	if sys.Credential != nil {
		groups = sys.Credential.Groups
	}
	vectors := int(header.argc) + 1 + int(header.envc) + 1
	arrays := 4 * (len(fds) + len(files) + len(groups) + len(sys.AmbientCaps))
	arrays = (arrays + 7) &^ 7
	size := int(unsafe.Sizeof(header)) + arrays + 8*vectors
	for _, s := range strs {
		size += len(s) + 1
	}
	if size > math.MaxInt32 {
		return nil, &Error{"argv and Env", syscall.E2BIG}
	}
	header.size = cUint64(size)
	header.nfds, header.nfiles = cUint(len(fds)), cUint(len(files))
	header.ngroups, header.ncaps = cUint(len(groups)), cUint(len(sys.AmbientCaps))

	words := make([]uint64, (size+7)/8)
	*(*cPlan)(unsafe.Pointer(&words[0])) = header
	plan := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	at := plan[unsafe.Sizeof(header):]
	put := func(v uint32) {
		binary.NativeEndian.PutUint32(at, v)
		at = at[4:]
	}
	for _, fd := range fds {
		put(uint32(fd))
	}
	for _, i := range files {
		put(uint32(i))
	}
	for _, gid := range groups {
		put(gid)
	}
	for _, c := range sys.AmbientCaps {
		put(uint32(c))
	}
	at = plan[int(unsafe.Sizeof(header))+arrays+8*vectors:]
	for _, s := range strs {
		at = at[copy(at, s)+1:]
	}
	return plan, nil
}
