package procstate

import (
	"fmt"
	"strconv"
	"strings"
)

// A TTY is a terminal's device number as stat(2)'s 32-bit form has it; 0 is none.
type TTY uint32

// String returns the usual name of a virtual console or pseudo-terminal, else
// the device's major and minor number.
func (t TTY) String() string {
	major, minor := uint32(t)>>8&0xfff, uint32(t)&0xff|uint32(t)>>12&0xfff00
	switch {
	case t == 0:
		return "none"
	case major == 4 && minor < 64:
		return fmt.Sprintf("/dev/tty%d", minor)
	case major == 4:
		return fmt.Sprintf("/dev/ttyS%d", minor-64)
	case major >= 136 && major <= 143: // 256 to a major, before the kernel had wide minors
		return fmt.Sprintf("/dev/pts/%d", (major-136)<<8+minor)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

// A Umask is a file mode creation mask. It prints as octal.
type Umask uint32

// String returns four octal digits or more: 0022.
func (m Umask) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// A SeccompMode is prctl(PR_GET_SECCOMP)'s: 0, 1 strict, 2 filter.
type SeccompMode int

// String returns disabled, strict or filter, or the number of a mode without a name.
func (m SeccompMode) String() string { return name(int(m), "disabled", "strict", "filter") }

// A Policy is a scheduling policy of sched(7).
type Policy int

// String returns the name as in C, SCHED_OTHER, or the number of a policy without a name.
func (p Policy) String() string {
	return name(int(p), "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH",
		"", "SCHED_IDLE", "SCHED_DEADLINE", "SCHED_EXT")
}

// A Personality is the word that personality(2) returns. It prints as hexadecimal.
type Personality uint32

// String returns eight digits of hexadecimal: 0x00000000.
func (p Personality) String() string { return fmt.Sprintf("%#08x", uint32(p)) }

// name picks a number's name, or is the number where it has none.
func name(n int, names ...string) string {
	if n >= 0 && n < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprint(n)
}

// OpenFlags are the access mode and status flags that fcntl(F_GETFL) returns.
// O_LARGEFILE, which every open(2) of a 64-bit process sets, is left out.
type OpenFlags uint32

// String returns the names as in C: O_RDWR|O_APPEND.
func (f OpenFlags) String() string {
	names := []string{[]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[f&3]}
	rest := f &^ 3
	for _, n := range openFlagNames {
		if n.flag != 0 && rest&n.flag == n.flag {
			names = append(names, n.name)
			rest &^= n.flag
		}
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#o", uint32(rest)))
	}
	return strings.Join(names, "|")
}

type openFlagName struct {
	flag OpenFlags
	name string
}

// String returns soft/hard, each a number or "unlimited".
func (l Limit) String() string { return limitText(l.Soft) + "/" + limitText(l.Hard) }

func limitText(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// String returns the quoted name, with " (deleted)" behind it where that is so.
func (p Path) String() string { return deletedText(p.Name, p.Deleted) }

// deletedText quotes a name, which may hold a newline.
func deletedText(name string, deleted bool) string {
	if deleted {
		return strconv.Quote(name) + " (deleted)"
	}
	return strconv.Quote(name)
}

// String returns all four: "real 0, effective 0, saved 0, fs 0".
func (i IDs) String() string {
	return fmt.Sprintf("real %d, effective %d, saved %d, fs %d", i.Real, i.Effective, i.Saved, i.FS)
}

// String is the line of /proc/locks without its number.
func (l Lock) String() string {
	end, arrow := fmt.Sprint(l.End), ""
	if l.End == EOF {
		end = "EOF"
	}
	if l.Waiting {
		arrow = "-> "
	}
	return fmt.Sprintf("%s%s %s %s %d %02x:%02x:%d %d %s",
		arrow, l.Kind, l.Mandatory, l.Mode, l.PID, l.Major, l.Minor, l.Inode, l.Start, end)
}

// String returns the quoted target, the flags, the offset and whether it is
// close-on-exec.
func (d Descriptor) String() string {
	text := fmt.Sprintf("%s %v offset %d", deletedText(d.Target, d.Deleted), d.Flags, d.Offset)
	if d.CloseOnExec {
		text += " close-on-exec"
	}
	return text
}

// String is as a line of /proc/PID/maps, with the VmFlags.
func (m Map) String() string {
	return fmt.Sprintf("%x-%x %s %x %s %s", m.Start, m.End, m.Perms, m.Offset,
		deletedText(m.Name, m.Deleted), strings.Join(m.VmFlags, " "))
}

// String returns clock, signal and way of notification.
func (t Timer) String() string {
	return fmt.Sprintf("clock %d, %v, %q", t.Clock, t.Signal, t.Notify)
}

// String returns the thread's id and its quoted name.
func (t Thread) String() string { return fmt.Sprintf("%d %q", t.TID, t.Name) }
