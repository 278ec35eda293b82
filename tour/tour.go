// Package tour is the chapter on forking, live: one step for each of its systems,
// shown with real processes and what ps says of them, and checked against what
// the chapter says.
//
//	$ rawfork tour zombie
package tour

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// A Step shows one row of the chapter.
type Step struct {
	Row   string // the row's id: C10
	Name  string // one word
	Title string
	Claim string // what the chapter says

	// run shows it, and returns what was seen in one sentence when that is what
	// the chapter says, else an error. A skip is an error that unshown made.
	run func(ctx context.Context, log *Log) (seen string, err error)
}

// Limit is how long a step may take; then it ends as failed. Most take a few
// milliseconds; a loaded machine may need a thousand times that.
const Limit = time.Minute

// Outcome is how a step came out.
type Outcome string

const (
	Holds   Outcome = "holds"   // it is what the chapter says
	Fails   Outcome = "fails"   // it is not, or it went wrong on the way
	Skipped Outcome = "skipped" // it can't be shown here
)

// A Result is what came of a step.
type Result struct {
	Row     string   `json:"row"`
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Claim   string   `json:"claim"`
	Lines   []string `json:"lines"` // what was shown on the way
	Outcome Outcome  `json:"outcome"`
	Seen    string   `json:"seen"` // what was seen, or what went wrong
	Seconds float64  `json:"seconds"`
}

// Steps returns all steps in the chapter's order.
func Steps() []Step { return steps }

// Find returns the step of that name, or the first one of that row, in any case of
// letters.
func Find(name string) (Step, bool) {
	for _, step := range steps {
		if strings.EqualFold(name, step.Name) || strings.EqualFold(name, step.Row) {
			return step, true
		}
	}
	return Step{}, false
}

// Run shows the step: show, which may be nil, gets each line at once. However the
// step ends, also by the end of ctx, none of its processes and descriptors is left.
// The error is that of ctx, or [errors.ErrUnsupported] where there is no fork; all
// others are in the result.
func (s Step) Run(ctx context.Context, show func(Line)) (Result, error) {
	result := Result{Row: s.Row, Name: s.Name, Title: s.Title, Claim: s.Claim, Lines: []string{}}
	limited, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	log := newLog(limited, func(line Line) {
		result.Lines = append(result.Lines, line.Text)
		if show != nil {
			show(line)
		}
	})
	start := time.Now()
	seen, err := s.run(limited, log)
	log.cleanUp()
	result.Seconds = time.Since(start).Seconds()

	var skip skipped
	var errno syscall.Errno // ENOSYS is for a call that is missing, not for the whole
	switch {
	case ctx.Err() != nil:
		return result, ctx.Err()
	case errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &errno):
		return result, err
	case limited.Err() != nil:
		result.Outcome, result.Seen = Fails, fmt.Sprintf("not done after %v", Limit)
	case errors.As(err, &skip):
		result.Outcome, result.Seen = Skipped, skip.reason
	case err != nil:
		result.Outcome, result.Seen = Fails, err.Error()
	default:
		result.Outcome, result.Seen = Holds, seen
	}
	return result, nil
}

// skipped says why a step can't be shown here, as found by trying.
type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }
