package procstate

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// A Signal is a signal's number on Linux. It prints its name.
type Signal int

// signalNames are the names of signals 1 to 31 on amd64 and arm64.
var signalNames = strings.Fields(`
	SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1
	SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP
	SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH
	SIGIO SIGPWR SIGSYS`)

// rtMin is SIGRTMIN as glibc has it: 32 and 33 are its own.
const rtMin = 34

// String returns the name: SIGINT, SIGRTMIN+1, and SIG32 for one that has none.
func (s Signal) String() string {
	switch {
	case s == 0:
		return "none"
	case s > 0 && int(s) <= len(signalNames):
		return signalNames[s-1]
	case s == rtMin:
		return "SIGRTMIN"
	case s > rtMin && s <= 64:
		return fmt.Sprintf("SIGRTMIN+%d", int(s-rtMin))
	}
	return fmt.Sprintf("SIG%d", int(s))
}

// A SignalSet is a set of signals: signal n is bit n-1, as in /proc.
type SignalSet uint64

// Signals returns the set of the signals that are given.
func Signals(signals ...Signal) SignalSet {
	var set SignalSet
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

// Has tells whether s is in the set.
func (set SignalSet) Has(s Signal) bool {
	return s >= 1 && s <= 64 && set&(1<<(s-1)) != 0
}

// Names returns the names of the set's signals, in the order of their numbers.
func (set SignalSet) Names() []string {
	return bitNames(uint64(set), func(bit int) string { return Signal(bit + 1).String() })
}

// String returns the names with spaces between, or "none". A set that has more
// signals than it lacks is "all" or "all but" what it lacks.
func (set SignalSet) String() string {
	return setText(set.Names(), (^set).Names())
}

// MarshalJSON writes the names as a list.
func (set SignalSet) MarshalJSON() ([]byte, error) { return json.Marshal(set.Names()) }

// UnmarshalJSON reads the list that MarshalJSON writes.
func (set *SignalSet) UnmarshalJSON(text []byte) error {
	bits, err := parseNames(text, func(bit int) string { return Signal(bit + 1).String() })
	*set = SignalSet(bits)
	return err
}

// bitNames names each bit of a set.
func bitNames(set uint64, name func(bit int) string) []string {
	names := []string{}
	for bit := range 64 {
		if set&(1<<bit) != 0 {
			names = append(names, name(bit))
		}
	}
	return names
}

// setText says a set by what it has or, when that is shorter, by what it lacks.
func setText(has, lacks []string) string {
	switch {
	case len(has) == 0:
		return "none"
	case len(lacks) == 0:
		return "all"
	case len(lacks) < len(has):
		return "all but " + strings.Join(lacks, " ")
	}
	return strings.Join(has, " ")
}

// parseNames is the inverse of bitNames, for JSON.
func parseNames(text []byte, name func(bit int) string) (set uint64, err error) {
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return 0, err
	}
	bits := make(map[string]int, 64)
	for bit := range 64 {
		bits[name(bit)] = bit
	}
	for _, n := range names {
		bit, ok := bits[n]
		if !ok {
			return 0, fmt.Errorf("procstate: unknown name in a set: %s", strconv.Quote(n))
		}
		set |= 1 << bit
	}
	return set, nil
}
