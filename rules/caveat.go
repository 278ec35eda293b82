package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A Caveat is something that goes wrong in a child of fork without care.
type Caveat struct {
	ID      string `json:"id"`
	Claim   string `json:"claim"`             // what goes wrong, in a sentence
	Why     string `json:"why"`               // how it comes about
	Source  string `json:"source"`            // where that stands
	Instead string `json:"instead,omitempty"` // what to do, if anything is to be done

	// Rare says that it goes wrong so seldom that a short run may not show it.
	Rare bool `json:"rare,omitempty"`

	// Build are flags for go build without which it can't be shown: [Show] then
	// builds a program of its own, where there is the go command.
	Build []string `json:"build,omitempty"`

	// builds are the flags with which its process builds a program itself.
	builds []string

	// bad goes wrong, good is the library's way. Each makes one child, and tells
	// what became of it: "" when it went well, else how it went wrong.
	bad, good func(ctx context.Context) (string, error)
	// env are settings without which it can't be shown, for the process's environment.
	env []string
	// busy is the load of the parent under which it is shown.
	busy string
	// together says that tries may run at the same time: those that hang are then
	// waited for together.
	together bool
}

// Building says which build the demonstration begins with, "with -race", which takes
// its time; or "" where this program will do.
func (c Caveat) Building() string {
	if flags := append(missing(c.Build), c.builds...); len(flags) > 0 {
		return "with " + strings.Join(flags, " ")
	}
	return ""
}

// A Showing is what a demonstration of a caveat counted.
type Showing struct {
	Caveat
	Load  string         `json:"load"`
	Tries int            `json:"tries"`
	Bad   map[string]int `json:"bad"`   // how it went without care; "well" for the tries that went well
	Good  map[string]int `json:"good"`  // the same the library's way; nil when there is no other way
	Shown int            `json:"shown"` // how many tries went wrong without care: 0 says that this run didn't show it
}

// How a try went that didn't go wrong: well, or the child was stopped by the guard
// or by another check of the runtime, loudly and at once.
const (
	well    = "well"
	stopped = "died with a traceback"
)

// Verdict says in how many tries it was shown, or that it was not shown this time, which
// happens with what is rare.
func (s Showing) Verdict() string {
	if s.Shown == 0 {
		return fmt.Sprintf("not shown this time, in %d tries", s.Tries)
	}
	return fmt.Sprintf("shown %d of %d", s.Shown, s.Tries)
}

// Failed tells whether the library's way went wrong.
func (s Showing) Failed() bool { return s.Good != nil && s.Good[well] != s.Tries }

// Caveats returns all caveats, in the order of the document.
func Caveats() []Caveat { return caveats() }

// Show demonstrates a caveat: tries children without care, and as many the library's
// way. An error says that it couldn't be shown; errors.ErrUnsupported that it can't be
// here, for want of what the caveat is about, or of a go command for its Build.
//
// It is shown in a process of its own, which is this program once more: what goes wrong
// there, such as a wake-up that a child has taken, is of no consequence here.
//
// Precondition: the program has called [Init].
func Show(ctx context.Context, c Caveat, tries int) (Showing, error) {
	showing := Showing{Caveat: c, Load: c.busy, Tries: tries, Bad: map[string]int{}}
	err := apart(ctx, c, order{Caveat: c.ID, Tries: tries}, func(a answer) {
		if a.Showing != nil {
			showing.Bad, showing.Good = a.Showing.Bad, a.Showing.Good
			showing.Shown = tries - showing.Bad[well] - showing.Bad[stopped]
		}
	})
	if err != nil {
		return showing, fmt.Errorf("caveat %s: %w", c.ID, err)
	}
	return showing, nil
}

// showHere is Show in this process.
func showHere(ctx context.Context, c Caveat, tries int) (Showing, error) {
	showing := Showing{Caveat: c, Load: c.busy, Tries: tries, Bad: map[string]int{}}
	busy, err := loadNamed(c.busy)
	if err != nil {
		return showing, err
	}
	err = underLoad(busy, func() (err error) {
		if showing.Bad, err = c.repeat(ctx, tries, c.bad); err != nil || c.good == nil {
			return err
		}
		showing.Good, err = c.repeat(ctx, tries, c.good)
		return err
	})
	return showing, err
}

// repeat counts how tries go.
func (c Caveat) repeat(ctx context.Context, tries int, try func(context.Context) (string, error)) (map[string]int, error) {
	batch := 1
	if c.together {
		batch = 16
	}
	counts := map[string]int{}
	for left := tries; left > 0; left -= batch {
		hows := make([]string, min(batch, left))
		errs := make([]error, len(hows))
		var group sync.WaitGroup
		for i := range hows {
			group.Go(func() { hows[i], errs[i] = try(ctx) })
		}
		group.Wait()
		if err := errors.Join(append(errs, ctx.Err())...); err != nil {
			return counts, err
		}
		for _, how := range hows {
			counts[cmp.Or(how, well)]++
		}
	}
	return counts, nil
}
