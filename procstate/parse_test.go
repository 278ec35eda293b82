//go:build linux

package procstate

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// check compares what a parser makes of a text; a want of nil is an error.
func check[T any](t *testing.T, name string, got T, err error, want *T) {
	t.Helper()
	switch {
	case want == nil && err == nil:
		t.Errorf("%s: %v, want an error", name, got)
	case want != nil && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != nil:
		if d := cmp.Diff(*want, got, cmp.AllowUnexported(statFile{})); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
}

var statTail = "S 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 55 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	want := &statFile{run: "S", flags: 4194560, exitSignal: 17}
	for name, want := range map[string]*statFile{
		"12 (sh) " + statTail:               want,
		"12 (a) (b\n\xff) S 9) " + statTail: want,
		"12 () " + statTail:                 want,
		"":                                  nil,
		"12 (sh)":                           nil,
		"12 (sh) S 1 2 3":                   nil,
		"12 (sh) " + strings.Replace(statTail, "4194560", "x", 1):  nil,
		"12 (sh) " + strings.Replace(statTail, " 17 ", " 1e9 ", 1): nil,
	} {
		got, err := parseStat([]byte(name))
		check(t, name, got, err, want)
	}
}

func TestParseStatus(t *testing.T) {
	s := parseStatus([]byte("Name:\ta\\nUmask:\t0777: b\nUmask:\t0027\nGroups:\t1 20 3000000000 \nSigBlk:\t8000000000000001\nNoNewPrivs:\t1\nbroken\n"))
	if name := s["Name"]; name != `a\nUmask:`+"\t0777: b" {
		t.Errorf("name %q", name)
	}
	umask, err := field[Umask](s, "Umask", 8)
	check(t, "Umask", umask, err, ptr(Umask(0o027)))
	groups, err := s.numbers("Groups")
	check(t, "Groups", groups, err, ptr([]int{1, 20, 3000000000}))
	blocked, err := field[SignalSet](s, "SigBlk", 16)
	check(t, "SigBlk", blocked, err, ptr(Signals(1, 64)))
	_, err = field[SignalSet](s, "SigCgt", 16)
	check(t, "SigCgt", 0, err, nil)
	_, err = field[Umask](s, "Groups", 8)
	check(t, "Groups as a number", 0, err, nil)
}

func ptr[T any](v T) *T { return &v }

func TestParseNumber(t *testing.T) {
	n, err := parseNumber[uint32]("4294967295", 10)
	check(t, "uint32", n, err, ptr(uint32(math.MaxUint32)))
	_, err = parseNumber[uint32]("4294967296", 10)
	check(t, "too large", 0, err, nil)
	_, err = parseNumber[uint32]("-1", 10)
	check(t, "negative", 0, err, nil)
	i, err := parseNumber[int]("-1000", 10)
	check(t, "int", i, err, ptr(-1000))
}

func TestSplitStrings(t *testing.T) {
	for text, want := range map[string][]string{
		"":                  nil,
		"\x00":              {""},
		"a\x00\x00":         {"a", ""},
		"title, rewritten":  {"title, rewritten"},
		"a\x00b\nc\xff\x00": {"a", "b\nc\xff"},
	} {
		check(t, text, splitStrings([]byte(text)), nil, &want)
	}
}

func TestParseLimits(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	for text, want := range map[string]*map[string]Limit{
		head + "Max open files            20000                unlimited            files     \n" +
			"Max nice priority         0                    10                   \n" +
			"Max something new         1                    2                    \n": {
			"nofile": {20000, Unlimited}, "nice": {0, 10}},
		head + "Max open files            20000\n":                                           nil,
		head + "Max open files            20000                -1                   files\n": nil,
		"short\n": nil,
	} {
		got, err := parseLimits([]byte(text))
		check(t, text, got, err, want)
	}
}

func TestParseLock(t *testing.T) {
	for line, want := range map[string]*Lock{
		"1: POSIX  ADVISORY  WRITE 708 fe:1f:42 10 14\n": {
			Kind: "POSIX", Mandatory: "ADVISORY", Mode: "WRITE", PID: 708, Major: 0xfe, Minor: 0x1f, Inode: 42, Start: 10, End: 14},
		"3: -> FLOCK  ADVISORY  READ 9 00:01:42 0 EOF": {
			Kind: "FLOCK", Mandatory: "ADVISORY", Mode: "READ", PID: 9, Minor: 1, Inode: 42, End: EOF, Waiting: true},
		"4: OFDLCK ADVISORY  READ -1 00:01:42 0 EOF": {
			Kind: "OFDLCK", Mandatory: "ADVISORY", Mode: "READ", PID: -1, Minor: 1, Inode: 42, End: EOF},
		"5: LEASE  ACTIVE    READ 9 <none>:0 0 EOF": {
			Kind: "LEASE", Mandatory: "ACTIVE", Mode: "READ", PID: 9, End: EOF},
		"": nil, "1: ->": nil, "1: A B C x 0:0:0 0 EOF": nil, "1: A B C 1 0 0 EOF": nil,
		"1: A B C 1 0:0:x 0 EOF": nil, "1: A B C 1 0:0:1 -1 EOF": nil, "1: A B C 1 0:0:1 1 x": nil,
	} {
		got, err := parseLock(line)
		check(t, line, got, err, want)
	}
}

func TestParseFDInfo(t *testing.T) {
	d, locks, err := parseFDInfo([]byte("pos:\t12\nflags:\t02100001\nmnt_id:\t3\nino:\t9\nlock:\t1: FLOCK  ADVISORY  READ 9 00:01:42 0 EOF\neventfd-count: 5\n"))
	check(t, "descriptor", d, err, &Descriptor{Offset: 12, Flags: 0o2100001, MountID: 3, Inode: 9, Info: []string{"eventfd-count: 5"}})
	check(t, "locks", locks, nil, &[]Lock{{Kind: "FLOCK", Mandatory: "ADVISORY", Mode: "READ", PID: 9, Minor: 1, Inode: 42, End: EOF}})
	for _, text := range []string{"pos:\tx\n", "flags:\t9\n", "mnt_id:\t\n", "ino:\t-1\n", "lock:\t\n"} {
		_, _, err := parseFDInfo([]byte(text))
		check(t, text, 0, err, nil)
	}
}

func TestParseTimers(t *testing.T) {
	text := "ID: 7\nsignal: 34/0000000000001234\nnotify: signal/pid.9\nClockID: 1\nID: 2\nsignal: 14/(____ptrval____)\nnotify: none/tid.10\nClockID: -6\n"
	got, err := parseTimers([]byte(text))
	check(t, text, got, err, &[]Timer{
		{ID: 2, Signal: 14, Notify: "none/tid.10", Clock: -6},
		{ID: 7, Signal: 34, Value: 0x1234, Notify: "signal/pid.9", Clock: 1}})
	for _, text := range []string{"signal: 1/0\n", "ID: x\n", "ID: 1\nsignal: x/0\n", "ID: 1\nsignal: 1/x\n", "ID: 1\nClockID: \n"} {
		_, err := parseTimers([]byte(text))
		check(t, text, 0, err, nil)
	}
}

func TestParseMaps(t *testing.T) {
	text := `55f8ec04000-55f8ec06000 rw-p 00001000 fe:1f 247278                     /a  b\012c (deleted)
Rss:                   8 kB
Private_Dirty:         4 kB
Newer_Key:             4 kB
VmFlags: rd wr dc 
7ffec0fbd000-7ffec0fbe000 r-xs 00000000 00:00 0 
VmFlags: rd
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`
	got, err := parseMaps([]byte(text))
	check(t, "smaps", got, err, &[]Map{
		{Start: 0x55f8ec04000, End: 0x55f8ec06000, Perms: "rw-p", Offset: 0x1000, Major: 0xfe, Minor: 0x1f, Inode: 247278,
			Name: "/a  b\nc (deleted)", Rss: 8192, PrivateDirty: 4096, VmFlags: []string{"rd", "wr", "dc"}},
		{Start: 0x7ffec0fbd000, End: 0x7ffec0fbe000, Perms: "r-xs", VmFlags: []string{"rd"}},
		{Start: 0xffffffffff600000, End: 0xffffffffff601000, Perms: "--xp", Name: "[vsyscall]"},
	})
	for _, text := range []string{"Rss: 1 kB\n", "\n", "1-2\n", "1 rw-p 0 0:0 0\n", "1-2 rw 0 0:0 0\n", "1-2 rw-p x 0:0 0\n",
		"1-2 rw-p 0 0 0\n", "1-2 rw-p 0 0:0 x\n", "1-2 rw-p 0 0:0 0\nRss: x kB\n", "1-2 rw-p 0 0:0 0\nRss\n",
		"1-2 rw-p 0 0:0 0\nRss: 18446744073709551615 kB\n"} {
		_, err := parseMaps([]byte(text))
		check(t, text, 0, err, nil)
	}
}

func TestParseOthers(t *testing.T) {
	inode, err := parseNamespace("net:[4026531840]")
	check(t, "namespace", inode, err, ptr(uint64(4026531840)))
	for _, text := range []string{"", "net", "net:[1", "net:[x]", "net:[-1]"} {
		_, err := parseNamespace(text)
		check(t, text, 0, err, nil)
	}
	group, nice, err := parseAutogroup("/autogroup-8 nice -3")
	if group != "/autogroup-8" || nice != -3 || err != nil {
		t.Errorf("autogroup %q, nice %d, %v", group, nice, err)
	}
	for _, text := range []string{"/autogroup-8", "/autogroup-8 nice x"} {
		_, _, err := parseAutogroup(text)
		check(t, text, 0, err, nil)
	}
}
