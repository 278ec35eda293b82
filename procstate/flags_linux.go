package procstate

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// openFlagNames has O_SYNC before O_DSYNC and O_TMPFILE before O_DIRECTORY, whose
// bits they include.
var openFlagNames = []openFlagName{
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_SYNC, "O_SYNC"},
	{unix.O_DSYNC, "O_DSYNC"},
	{unix.O_ASYNC, "O_ASYNC"},
	{unix.O_DIRECT, "O_DIRECT"},
	{unix.O_TMPFILE, "O_TMPFILE"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_NOATIME, "O_NOATIME"},
	{unix.O_PATH, "O_PATH"},
}

// largefile is the kernel's O_LARGEFILE: package unix has 0, which is what a
// 64-bit program passes.
func largefile() OpenFlags {
	if runtime.GOARCH == "arm64" {
		return 0o400000
	}
	return 0o100000
}
