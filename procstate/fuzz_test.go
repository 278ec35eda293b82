//go:build linux

package procstate

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever bytes a parser is given, it returns: a value of which what was
// written can be found again, or an error.

func FuzzStat(f *testing.F) {
	f.Add([]byte("12 (sh) " + statTail))
	f.Add([]byte("12 (a) (b\n\xff) " + statTail))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		stat, err := parseStat(text)
		if err == nil && (stat.run == "" || !strings.Contains(string(text), stat.run)) {
			t.Errorf("state %q", stat.run)
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add("Name:\ta: b\nUmask:\t0022\nGroups:\t1 2 \nSigBlk:\tffffffffffffffff\n")
	f.Add("Groups:\nGroups")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseStatus([]byte(text))
		for key := range s {
			s.numbers(key)
			s.bool(key)
			if n, err := field[SignalSet](s, key, 16); err == nil {
				checkSet(t, n)
			}
			if n, err := field[CapSet](s, key, 16); err == nil {
				checkCaps(t, n)
			}
		}
	})
}

// checkSet makes sure that a set is found again in its JSON.
func checkSet(t *testing.T, set SignalSet) {
	text, err := set.MarshalJSON()
	var again SignalSet
	if err == nil {
		err = again.UnmarshalJSON(text)
	}
	if err != nil || again != set {
		t.Errorf("%x came back from %s as %x: %v", uint64(set), text, uint64(again), err)
	}
}

func checkCaps(t *testing.T, set CapSet) {
	text, err := set.MarshalJSON()
	var again CapSet
	if err == nil {
		err = again.UnmarshalJSON(text)
	}
	if err != nil || again != set {
		t.Errorf("%x came back from %s as %x: %v", uint64(set), text, uint64(again), err)
	}
}

func FuzzStrings(f *testing.F) {
	f.Add([]byte("a\x00\x00b\x00"))
	f.Add([]byte("rewritten"))
	f.Fuzz(func(t *testing.T, text []byte) {
		joined := strings.Join(splitStrings(text), "\x00")
		if joined != strings.TrimSuffix(string(text), "\x00") {
			t.Errorf("%q came back as %q", text, joined)
		}
		envByName(splitStrings(text))
	})
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte("Max open files            20000                unlimited            files     \n"))
	f.Add([]byte("Max open files            1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		limits, err := parseLimits(text)
		if err == nil && len(limits) > len(limitNames) {
			t.Errorf("%d limits", len(limits))
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add("1: POSIX  ADVISORY  WRITE 708 fe:1f:42 10 14")
	f.Add("3: -> FLOCK  ADVISORY  READ 9 00:01:42 0 EOF")
	f.Add("5: LEASE  ACTIVE    READ 9 <none>:0 0 EOF")
	f.Add("1: A B C 1 : 0 EOF")
	f.Fuzz(func(t *testing.T, line string) {
		lock, err := parseLock(line)
		if err != nil {
			return
		}
		again, err := parseLock("1: " + lock.String())
		again.Waiting = lock.Waiting
		if err != nil || again.String() != lock.String() {
			t.Errorf("%q came back as %v: %v", line, again, err)
		}
		parseLocks([]byte(line))
	})
}

func FuzzFDInfo(f *testing.F) {
	f.Add([]byte("pos:\t12\nflags:\t02100001\nmnt_id:\t3\nino:\t9\nlock:\t1: FLOCK  ADVISORY  READ 9 00:01:42 0 EOF\neventfd-count: 5\n"))
	f.Add([]byte("lock:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, locks, err := parseFDInfo(text)
		if err == nil && len(d.Info)+len(locks) > strings.Count(string(text), "\n")+1 {
			t.Errorf("more lines than there are: %v %v", d.Info, locks)
		}
		_ = d.String()
	})
}

func FuzzTimers(f *testing.F) {
	f.Add([]byte("ID: 7\nsignal: 34/0000000000001234\nnotify: signal/pid.9\nClockID: 1\n"))
	f.Add([]byte("ID: 7\nsignal: 34/(null)\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		timers, err := parseTimers(text)
		if err == nil && len(timers) > strings.Count(string(text), "ID: ") {
			t.Errorf("%d timers", len(timers))
		}
	})
}

func FuzzMaps(f *testing.F) {
	f.Add([]byte("7f0-7f8 rw-p 00001000 fe:1f 42                     /a  b\\012c (deleted)\nRss: 8 kB\nVmFlags: rd wr\n"))
	f.Add([]byte("0-0 ---- 0 0:0 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		maps, err := parseMaps(text)
		if err == nil && len(maps) > strings.Count(string(text), "\n")+1 {
			t.Errorf("%d maps", len(maps))
		}
		for _, m := range maps {
			if line := m.String(); strings.Contains(line, "\n") || !utf8.ValidString(line) && utf8.Valid(text) {
				t.Errorf("%q isn't one line", line)
			}
		}
	})
}

func FuzzNamespace(f *testing.F) {
	f.Add("net:[4026531840]", "/autogroup-8 nice 0")
	f.Add("net:[", " nice ")
	f.Fuzz(func(t *testing.T, namespace, autogroup string) {
		if inode, err := parseNamespace(namespace); err == nil && !strings.HasSuffix(namespace, "]") {
			t.Errorf("%q has inode %d", namespace, inode)
		}
		if group, _, err := parseAutogroup(autogroup); err == nil && !strings.HasPrefix(autogroup, group) {
			t.Errorf("%q is %q", autogroup, group)
		}
	})
}
