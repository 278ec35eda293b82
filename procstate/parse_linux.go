package procstate

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// The parsers are of what the kernel writes, and take any bytes: what isn't of
// its form is an error, and none reads beyond a line that it doesn't know.

type integer interface {
	~int | ~int64 | ~uint32 | ~uint64
}

// parseNumber reads a whole string as a number that T can hold.
func parseNumber[T integer](text string, base int) (T, error) {
	var zero T
	bits := int(unsafe.Sizeof(zero)) * 8
	if zero-1 < 0 {
		n, err := strconv.ParseInt(text, base, bits)
		return T(n), err
	}
	n, err := strconv.ParseUint(text, base, bits)
	return T(n), err
}

// status is the file of that name: one "Key:\tvalue" a line. The one value that
// is the process's to choose, Name, has its newlines escaped.
type status map[string]string

func parseStatus(text []byte) status {
	s := status{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			s[key] = strings.Trim(value, " \t\n")
		}
	}
	return s
}

// field reads the number of a line.
func field[T integer](s status, key string, base int) (T, error) {
	value, ok := s[key]
	if !ok {
		return 0, fmt.Errorf("no %s in status: %w", key, fs.ErrNotExist)
	}
	n, err := parseNumber[T](value, base)
	if err != nil {
		return 0, fmt.Errorf("parse %s in status: %w", key, err)
	}
	return n, nil
}

func (s status) number(key string) (int, error) { return field[int](s, key, 10) }

func (s status) bool(key string) (bool, error) {
	n, err := s.number(key)
	return n != 0, err
}

func (s status) numbers(key string) ([]int, error) {
	value, ok := s[key]
	if !ok {
		return nil, fmt.Errorf("no %s in status: %w", key, fs.ErrNotExist)
	}
	var list []int
	for _, word := range strings.Fields(value) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("parse %s in status: %w", key, err)
		}
		list = append(list, n)
	}
	return list, nil
}

// statFile is what is wanted of stat that procfs hasn't, and what says whether the
// process has ended.
type statFile struct {
	run        string
	flags      uint
	exitSignal Signal
}

// parseStat looks for the last parenthesis: the name before it may hold some.
func parseStat(text []byte) (statFile, error) {
	line := string(text)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	//lint:ignore SA4000 the fields as proc(5) numbers them, less the first three
	const state, flags, exitSignal = 3 - 3, 9 - 3, 38 - 3 // fields of proc(5); state is the third
	if len(fields) <= exitSignal {
		return statFile{}, fmt.Errorf("only %d fields behind the name", len(fields))
	}
	bits, err := strconv.ParseUint(fields[flags], 10, 0)
	if err != nil {
		return statFile{}, err
	}
	signal, err := parseNumber[Signal](fields[exitSignal], 10)
	return statFile{fields[state], uint(bits), signal}, err
}

// splitStrings splits cmdline or environ: each string ends with NUL. A process
// may have written over its own, so the last one may lack it.
func splitStrings(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// limitNames are getrlimit(2)'s names by those of the limits file.
var limitNames = map[string]string{
	"Max cpu time": "cpu", "Max file size": "fsize", "Max data size": "data",
	"Max stack size": "stack", "Max core file size": "core", "Max resident set": "rss",
	"Max processes": "nproc", "Max open files": "nofile", "Max locked memory": "memlock",
	"Max address space": "as", "Max file locks": "locks", "Max pending signals": "sigpending",
	"Max msgqueue size": "msgqueue", "Max nice priority": "nice",
	"Max realtime priority": "rtprio", "Max realtime timeout": "rttime",
}

// parseLimits reads a table with the name in the first 26 columns.
func parseLimits(text []byte) (map[string]Limit, error) {
	const width = 26
	limits := map[string]Limit{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Limit ") {
			continue
		}
		if len(line) < width {
			return nil, fmt.Errorf("short line %q", line)
		}
		name, ok := limitNames[strings.TrimSpace(line[:width])]
		if !ok {
			continue // newer than this table
		}
		values := strings.Fields(line[width:])
		if len(values) < 2 {
			return nil, fmt.Errorf("limit %s lacks a value", name)
		}
		soft, err := parseLimit(values[0])
		if err != nil {
			return nil, err
		}
		hard, err := parseLimit(values[1])
		if err != nil {
			return nil, err
		}
		limits[name] = Limit{soft, hard}
	}
	return limits, nil
}

func parseLimit(text string) (uint64, error) {
	if text == "unlimited" {
		return Unlimited, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// parseAutogroup reads such as "/autogroup-8 nice 0", or nothing of a process in
// none.
func parseAutogroup(line string) (group string, nice int, err error) {
	if line == "" {
		return "", 0, nil
	}
	group, value, ok := strings.Cut(line, " nice ")
	if !ok {
		return "", 0, fmt.Errorf("no nice value in %q", line)
	}
	nice, err = strconv.Atoi(value)
	return group, nice, err
}

// parseNamespace reads such as "net:[4026531840]".
func parseNamespace(target string) (uint64, error) {
	_, rest, _ := strings.Cut(target, ":[")
	inode, ok := strings.CutSuffix(rest, "]")
	if !ok {
		return 0, fmt.Errorf("no inode in %q", target)
	}
	return strconv.ParseUint(inode, 10, 64)
}

// parseFDInfo reads fdinfo. Its flags still have the close-on-exec flag in them.
func parseFDInfo(text []byte) (d Descriptor, locks []Lock, err error) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimLeft(value, " \t")
		switch key {
		case "pos":
			d.Offset, err = strconv.ParseInt(value, 10, 64)
		case "flags":
			d.Flags, err = parseNumber[OpenFlags](value, 8)
		case "mnt_id":
			d.MountID, err = strconv.Atoi(value)
		case "ino":
			d.Inode, err = strconv.ParseUint(value, 10, 64)
		case "lock":
			var lock Lock
			lock, err = parseLock(value)
			locks = append(locks, lock)
		default:
			d.Info = append(d.Info, line)
		}
		if err != nil {
			return Descriptor{}, nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return d, locks, nil
}

// parseLocks reads /proc/locks.
func parseLocks(text []byte) ([]Lock, error) {
	var locks []Lock
	for line := range strings.Lines(string(text)) {
		lock, err := parseLock(line)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

// parseLock reads a line such as "1: -> POSIX  ADVISORY  WRITE 708 fe:00:42 0 EOF",
// where the arrow is of a lock that is waited for.
func parseLock(line string) (lock Lock, err error) {
	words := strings.Fields(line)
	if len(words) > 1 && words[1] == "->" {
		lock.Waiting = true
		words = slices.Delete(words, 1, 2)
	}
	if len(words) != 8 {
		return Lock{}, fmt.Errorf("%d words", len(words))
	}
	lock.Kind, lock.Mandatory, lock.Mode = words[1], words[2], words[3]
	if lock.PID, err = strconv.Atoi(words[4]); err != nil {
		return Lock{}, err
	}
	if file := words[5]; file != "<none>:0" {
		device, inode := file[:max(0, strings.LastIndexByte(file, ':'))], file[strings.LastIndexByte(file, ':')+1:]
		if lock.Major, lock.Minor, err = parseDevice(device); err != nil {
			return Lock{}, err
		}
		if lock.Inode, err = strconv.ParseUint(inode, 10, 64); err != nil {
			return Lock{}, err
		}
	}
	if lock.Start, err = strconv.ParseUint(words[6], 10, 64); err != nil {
		return Lock{}, err
	}
	lock.End = EOF
	if words[7] != "EOF" {
		lock.End, err = strconv.ParseUint(words[7], 10, 64)
	}
	return lock, err
}

// parseDevice reads a device's numbers, such as "fe:00".
func parseDevice(text string) (major, minor uint32, err error) {
	ma, mi, ok := strings.Cut(text, ":")
	if !ok {
		return 0, 0, fmt.Errorf("no device in %q", text)
	}
	if major, err = parseNumber[uint32](ma, 16); err != nil {
		return 0, 0, err
	}
	minor, err = parseNumber[uint32](mi, 16)
	return major, minor, err
}

// parseTimers reads the timers file: four lines for each.
func parseTimers(text []byte) ([]Timer, error) {
	var timers []Timer
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if key == "ID" {
			timers = append(timers, Timer{})
		}
		if !ok || len(timers) == 0 {
			return nil, fmt.Errorf("line %q", line)
		}
		t := &timers[len(timers)-1]
		var err error
		switch key {
		case "ID":
			t.ID, err = strconv.Atoi(value)
		case "signal":
			number, pointer, _ := strings.Cut(value, "/")
			if t.Signal, err = parseNumber[Signal](number, 10); err == nil {
				t.Value, err = parsePointer(pointer)
			}
		case "notify":
			t.Notify = value
		case "ClockID":
			t.Clock, err = strconv.Atoi(value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	slices.SortFunc(timers, func(a, b Timer) int { return cmp.Compare(a.ID, b.ID) })
	return timers, nil
}

// parsePointer reads what the kernel's %px wrote, and has 0 for the words that
// it writes for a pointer not to be shown.
func parsePointer(text string) (uint64, error) {
	if strings.HasPrefix(text, "(") {
		return 0, nil
	}
	return strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
}
