package procstate

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func example() *State {
	return &State{
		PID: 1, Run: "S", Name: "a", Umask: 0o022, UIDs: IDs{Real: 5},
		Argv:        []string{"a", ""},
		Env:         []string{"PATH=/bin", "A=1", "A=2", "odd"},
		Cwd:         Path{Name: "/"},
		Blocked:     Signals(2, 35),
		Affinity:    []int{0, 1, 2, 5},
		Limits:      map[string]Limit{"nofile": {1, Unlimited}},
		Descriptors: map[int]Descriptor{3: {Target: "/x]", Offset: 4}, 10: {Target: "/y"}},
		Threads:     []Thread{{TID: 1, Name: "a"}},
		Timers:      []Timer{{ID: 3}},
		Locks:       []Lock{{Kind: "POSIX", Mandatory: "ADVISORY", Mode: "READ", End: EOF}},
		Maps:        []Map{{Start: 0x1000, End: 0x2000, Perms: "rw-p", Name: "/lib [x]"}},
		Cgroups:     map[string]string{"unified": "/"},
		Namespaces:  map[string]uint64{"net": 7, "pid": 8},
		Missing:     Missing{"Personality": os.ErrPermission},
	}
}

func TestDiff(t *testing.T) {
	b := example()
	b.PID, b.Umask, b.UIDs.Effective = 2, 0o077, 6
	b.Argv = []string{"a"}
	b.Env = []string{"A=1", "A=3", "PATH=/bin", "odd", "N\nEW=x\ny"}
	b.Cwd = Path{"/tmp", true}
	b.Blocked = 0
	b.Affinity = []int{1}
	b.Limits["nofile"] = Limit{1, 2}
	b.Descriptors = map[int]Descriptor{3: {Target: "/x]", Offset: 9, CloseOnExec: true, Info: []string{"count"}}, 4: {Target: "/z"}}
	b.Threads = []Thread{{TID: 9, Name: "b"}, {TID: 10, Name: "c"}}
	b.Timers, b.Locks = nil, nil
	b.Maps[0].VmFlags = []string{"dc"}
	delete(b.Namespaces, "pid")
	b.Missing = Missing{"Personality": os.ErrPermission, "Cgroups": errors.New("no"), "Namespaces[pid]": errors.New("gone")}
	b.Cgroups = nil
	want := `PID: 1 → 2
UIDs.Effective: 0 → 6
Umask: 0022 → 0077
Cwd: "/" → "/tmp" (deleted)
Argv: ["a" ""] → ["a"]
Env[A#2]: "2" → "3"
Env[N\nEW]: nothing → "x\ny"
Blocked: SIGINT SIGRTMIN+1 → none
Limits[nofile]: 1/unlimited → 1/2
Affinity: 0-2,5 → 1
Namespaces[pid]: 8 → (gone)
Cgroups: {"unified":"/"} → (no)
Descriptors[3].CloseOnExec: false → true
Descriptors[3].Offset: 4 → 9
Descriptors[4]: nothing → "/z" O_RDONLY offset 0
Descriptors[10]: "/y" O_RDONLY offset 0 → nothing
Locks[POSIX ADVISORY READ 0 00:00:0 0 EOF]: POSIX ADVISORY READ 0 00:00:0 0 EOF → nothing
Timers[3]: clock 0, none, "" → nothing
Threads[0].Name: "a" → "b"
Threads[1]: nothing → 10 "c"
Maps[000000001000 /lib [x]].VmFlags: [] → ["dc"]
`
	if d := cmp.Diff(want, Diff(example(), b)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	got := Diff(example(), b, "PID", "UIDs", "Descriptors[].Offset", "Descriptors[4]", "Argv", `Env[N\nEW]`, "Maps[].VmFlags",
		"Limits", "Threads", "Timers", "Locks", "Cgroups", "Namespaces", "Blocked", "Cwd", "Affin")
	want = `Umask: 0022 → 0077
Env[A#2]: "2" → "3"
Affinity: 0-2,5 → 1
Descriptors[3].CloseOnExec: false → true
Descriptors[10]: "/y" O_RDONLY offset 0 → nothing
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("with fields left out (-want +got)\n%s", d)
	}
}

func TestDiffOfTheSame(t *testing.T) {
	if got := Diff(example(), example()); got != "" {
		t.Errorf("%s", got)
	}
	a, b := example(), example()
	a.Missing = Missing{"Env": errors.New("open /proc/12/environ: permission denied")}
	b.Missing = Missing{"Env": errors.New("open /proc/345/environ: permission denied")}
	a.Groups, b.Groups = nil, []int{}
	if got := Diff(a, b, "Personality"); got != "" {
		t.Errorf("the same reason: %s", got)
	}
}

func TestCompare(t *testing.T) {
	a, b := example(), example()
	b.Umask = 0
	b.Descriptors[11] = Descriptor{Target: "/new"}
	delete(b.Descriptors, 10)
	kinds := map[string]Kind{}
	for _, c := range Compare(a, b) {
		if (c.A == "") != (c.Kind == New) || (c.B == "") != (c.Kind == Gone) {
			t.Errorf("%s is %s, from %q to %q", c.Field, c.Kind, c.A, c.B)
		}
		kinds[c.Field] = c.Kind
	}
	for field, want := range map[string]Kind{
		"Umask": Changed, "PID": Kept, "Env[PATH]": Kept, "Personality": Kept,
		"Descriptors[3].Offset": Kept, "Descriptors[10]": Gone, "Descriptors[11]": New,
	} {
		if kinds[field] != want {
			t.Errorf("%s is %q, want %q", field, kinds[field], want)
		}
	}
}

// A State goes to JSON and back with nothing lost but the kinds of the errors.
func TestJSON(t *testing.T) {
	a := example()
	a.Capabilities = Capabilities{Permitted: 1<<41 - 1, Bounding: 1<<50 | 1}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var b State
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if d := Diff(a, &b); d != "" {
		t.Errorf("%s", d)
	}
	if err := json.Unmarshal([]byte(`["SIGNONE"]`), &b.Blocked); err == nil {
		t.Error("a signal that there isn't was taken")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Signal(2).String():                 "SIGINT",
		Signal(31).String():                "SIGSYS",
		Signal(33).String():                "SIG33",
		Signal(34).String():                "SIGRTMIN",
		Signal(64).String():                "SIGRTMIN+30",
		Signal(65).String():                "SIG65",
		Signal(-1).String():                "SIG-1",
		SignalSet(0).String():              "none",
		(^SignalSet(0)).String():           "all",
		(^Signals(9, 19)).String():         "all but SIGKILL SIGSTOP",
		CapSet(0).String() + "!":           "none!",
		(CapSet(1)<<41 - 1).String() + "!": "all!",
		(CapSet(1)<<41 - 2).String():       "all but cap_chown",
		(CapSet(1)<<45 | 1<<40).String():   "cap_checkpoint_restore cap_45",
		TTY(0).String() + "?":              "none?",
		TTY(136<<8 | 3).String():           "/dev/pts/3",
		TTY(137<<8 | 3).String():           "/dev/pts/259",
		TTY(136<<8 | 1<<20 | 3).String():   "/dev/pts/259",
		TTY(4<<8 | 1).String():             "/dev/tty1",
		TTY(4<<8 | 64).String():            "/dev/ttyS0",
		TTY(5<<8 | 1).String():             "5:1",
		Policy(7).String():                 "SCHED_EXT",
		Policy(4).String():                 "4",
		SeccompMode(2).String():            "filter",
		Limit{0, Unlimited}.String():       "0/unlimited",
		Umask(0o7).String():                "0007",
		Personality(0x40000).String():      "0x00040000",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
