package rules

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
)

// A Rule is one statement on what fork does, with a check that can fail.
type Rule struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	Claim  string `json:"claim"`         // one sentence
	Source string `json:"source"`        // where it stands
	Row    string `json:"row,omitempty"` // the rows of the forking chapter that it stands for, such as "C2"

	// Check makes processes and says what is to be seen. It runs in a goroutine of
	// its own, which it may lock to a thread and leave locked.
	Check func(t *T) `json:"-"`
}

// An Outcome is what became of a check.
type Outcome string

// The outcomes. A rule that holds has asserted something.
const (
	Holds   Outcome = "holds"
	Broken  Outcome = "broken"
	Skipped Outcome = "skipped"
)

// An Assertion is one comparison that a check made.
type Assertion struct {
	Name string `json:"name"`
	Got  string `json:"got"`
	Want string `json:"want"`
	OK   bool   `json:"ok"`
}

// A Result is what the check of a rule found.
type Result struct {
	Rule
	Outcome    Outcome     `json:"outcome"`
	Reason     string      `json:"reason,omitempty"` // why it was skipped, or what ended the check
	Assertions []Assertion `json:"assertions"`
	Seconds    float64     `json:"seconds"`
}

// Failures tells what was not as the rule says: each assertion that failed, and the
// reason why the check didn't come to its end.
func (r Result) Failures() []string {
	var failures []string
	for _, a := range r.Assertions {
		if !a.OK {
			failures = append(failures, fmt.Sprintf("%s: got %s, want %s", a.Name, a.Got, a.Want))
		}
	}
	if r.Outcome == Broken && r.Reason != "" {
		failures = append(failures, r.Reason)
	}
	return failures
}

// CheckLimit is how long a check may take. Each takes less than a second; one that
// takes so long hangs.
const CheckLimit = time.Minute

// Rules returns all rules, in the order of the document.
func Rules() []Rule { return rules() }

// group gives rules their group.
func group(name string, list ...Rule) []Rule {
	for i := range list {
		list[i].Group = name
	}
	return list
}

// Check checks one rule. All processes that the check has made are gone when it
// returns. A check that takes longer than [CheckLimit], or that ctx ends, is broken.
func Check(ctx context.Context, rule Rule) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, CheckLimit, errors.New("it took too long"))
	defer cancel()
	return (&T{assertions: []Assertion{}}).run(ctx, rule)
}

// A T records what a check sees. The zero value is of no use: see [Rule].
type T struct {
	// wrong makes a process's child otherwise than fork(2) does, for the test that
	// rules can fail. It is nil in a true check.
	wrong func(p *Process) *Process

	assertions []Assertion
	skipped    bool

	mu       sync.Mutex
	reason   string
	ended    bool
	cleanups []func()
	stops    []func()
}

func (t *T) run(ctx context.Context, rule Rule) Result {
	start := time.Now()
	stop := context.AfterFunc(ctx, func() { t.interrupt(context.Cause(ctx)) })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.cleanUp()
		defer t.recover()
		rule.Check(t)
	}()
	<-done
	result := Result{Rule: rule, Outcome: Holds, Reason: t.reason, Assertions: t.assertions,
		Seconds: time.Since(start).Seconds()}
	failed := false
	for _, a := range t.assertions {
		failed = failed || !a.OK
	}
	switch {
	case failed, t.reason != "" && !t.skipped:
		result.Outcome = Broken
	case t.skipped:
		result.Outcome = Skipped
	case len(t.assertions) == 0:
		result.Outcome, result.Reason = Broken, "nothing was asserted"
	}
	return result
}

// recover makes a panic of a check a broken rule.
func (t *T) recover() {
	if value := recover(); value != nil {
		t.because(fmt.Sprintf("panic: %v", value))
	}
}

// because keeps the first reason.
func (t *T) because(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reason == "" {
		t.reason = reason
	}
}

// interrupt ends the processes of a check from outside: its calls to them fail.
func (t *T) interrupt(cause error) {
	t.because(cause.Error())
	t.mu.Lock()
	stops := t.stops
	t.stops, t.ended = nil, true
	t.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// onInterrupt has stop called if the check is interrupted, or was.
func (t *T) onInterrupt(stop func()) {
	t.mu.Lock()
	t.stops = append(t.stops, stop)
	ended := t.ended
	t.mu.Unlock()
	if ended {
		stop()
	}
}

func (t *T) cleanUp() {
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		last()
	}
}

// Cleanup has f called at the end of the check, in the reverse order of the calls of
// Cleanup, whatever the end is.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Equal asserts that got is want, both of one type. The name says in a few words
// what was looked at. A check goes on after an assertion that fails.
func (t *T) Equal(name string, got, want any) {
	t.record(name, got, show(want), reflect.DeepEqual(got, want))
}

// True asserts that ok holds of got. The name says what is wanted of it.
func (t *T) True(name string, ok bool, got any) { t.record(name, got, "so", ok) }

func (t *T) record(name string, got any, want string, ok bool) {
	t.assertions = append(t.assertions, Assertion{name, show(got), want, ok})
}

// show writes a value for people: an error or a signal by its text.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case error:
		if reflect.ValueOf(v).IsZero() { // an errno of 0
			return "success"
		}
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case string:
		return fmt.Sprintf("%q", v)
	case []byte:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

// Skip ends the check: the rule can't be seen here. The reason says what was tried
// and how it failed.
func (t *T) Skip(format string, args ...any) {
	t.mu.Lock()
	t.skipped = t.reason == ""
	t.mu.Unlock()
	t.because(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Fatal ends the check and breaks the rule.
func (t *T) Fatal(format string, args ...any) {
	t.because(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Must ends the check and breaks the rule if err isn't nil: what was to be seen
// couldn't be set up.
func (t *T) Must(err error) {
	if err != nil {
		t.Fatal("%v", err)
	}
}

// Rows lists the rows of the forking chapter that the rule stands for.
func (r Rule) Rows() []string {
	return strings.FieldsFunc(r.Row, func(c rune) bool { return c == ',' || c == ' ' })
}
