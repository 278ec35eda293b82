package rules

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rawfork/internal/load"
)

// A Cell is one field of the hang matrix: what the children did, how busy the parent
// was, and what became of them.
type Cell struct {
	Control bool   `json:"control"`          // a plain fork through cgo, not the library's
	Action  string `json:"action"`           // what each child did
	Load    string `json:"load"`             // what kept the parent busy
	Procs   int    `json:"procs"`            // GOMAXPROCS
	Forks   int    `json:"forks"`            // children made
	OK      int    `json:"ok"`               // children that did it and ended as they should
	Hung    int    `json:"hung"`             // children that the watchdog killed
	Wrong   int    `json:"wrong"`            // children that ended otherwise
	Detail  string `json:"detail,omitempty"` // of the first that hung or was wrong
}

// Failed tells whether a child of the library was not what it should be.
func (c Cell) Failed() bool { return !c.Control && c.OK != c.Forks }

// A Plan says what of the matrix to run. The zero value runs nothing.
type Plan struct {
	Forks   int   // children of the library in all, spread evenly over the cells, rounded up
	Control int   // children of the plain fork in each cell; 0 leaves the control out
	Procs   []int // values of GOMAXPROCS; nil for 1, 2 and 8
}

// How long a child may take that isn't found deadlocked before. One of the library's
// that takes so long on any machine hangs; a control child is given less, since most
// of them do.
const (
	limit        = 30 * time.Second
	controlLimit = time.Second
)

// Matrix runs the hang matrix: every child action, under every load of the parent,
// with GOMAXPROCS of 1, 2 and 8. It reports each cell as it is done. A cell in which
// children hang is no error; an error ends the run, as does ctx, and no child is
// left.
//
// It runs in a process of its own, as [Show] does.
//
// Precondition: the program has called [Init].
func Matrix(ctx context.Context, plan Plan, report func(Cell)) error {
	err := apart(ctx, Caveat{}, order{Plan: plan}, func(a answer) {
		if a.Cell != nil {
			report(*a.Cell)
		}
	})
	if err != nil {
		return fmt.Errorf("hang matrix: %w", err)
	}
	return nil
}

// matrixHere is Matrix in this process, whose GOMAXPROCS it changes and puts back.
func matrixHere(ctx context.Context, plan Plan, report func(Cell)) error {
	procs := plan.Procs
	if procs == nil {
		procs = []int{1, 2, 8}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	loads := load.All()
	cells := len(libraryActions) * len(loads) * len(procs)
	forks := (plan.Forks + cells - 1) / max(cells, 1)
	for _, n := range procs {
		runtime.GOMAXPROCS(n)
		for _, busy := range loads {
			err := underLoad(busy, func() error {
				return row(ctx, busy.Name, n, forks, plan.Control, report)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// loadNamed finds a load by its name.
func loadNamed(name string) (load.Load, error) {
	for _, l := range load.All() {
		if l.Name == name {
			return l, nil
		}
	}
	return load.Load{}, fmt.Errorf("no load %q", name)
}

// underLoad runs f while the load keeps the parent busy.
func underLoad(busy load.Load, f func() error) error {
	stop, err := busy.Start()
	if err != nil {
		return err
	}
	defer stop()
	return f()
}

// row runs all actions under one load: the control's children are forked first, and
// watched while the library's are.
func row(ctx context.Context, busy string, procs, forks, control int, report func(Cell)) error {
	outcomes, err := startControl(ctx, control)
	if err != nil {
		return err
	}
	libraryErr := libraryRow(ctx, Cell{Load: busy, Procs: procs}, forks, report)
	of, err := outcomes()
	if err := errors.Join(libraryErr, err); err != nil {
		return err
	}
	for i, list := range of {
		cell := Cell{Control: true, Action: controlActions[i].name, Load: busy, Procs: procs}
		for _, outcome := range list {
			cell.add(outcome)
		}
		report(cell)
	}
	return nil
}

// libraryRow runs the library's actions, each in forks children.
func libraryRow(ctx context.Context, empty Cell, forks int, report func(Cell)) error {
	if forks == 0 {
		return nil
	}
	for _, action := range libraryActions {
		cell := empty
		cell.Action = action.name
		outcomes, err := manyTimes(ctx, forks, action.run)
		if err != nil {
			return err
		}
		for _, outcome := range outcomes {
			cell.add(outcome)
		}
		report(cell)
	}
	return nil
}

// atOnce is how many children of the library there are at a time.
const atOnce = 4

// manyTimes calls f n times, some of them at once, until one fails or ctx is done.
func manyTimes(ctx context.Context, n int, f func(context.Context) (outcome, error)) ([]outcome, error) {
	outcomes := make([]outcome, n)
	errs := make([]error, atOnce)
	var next atomic.Int64
	var group sync.WaitGroup
	for worker := range errs {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[worker] == nil; i = next.Add(1) - 1 {
				if errs[worker] = ctx.Err(); errs[worker] == nil {
					outcomes[i], errs[worker] = f(ctx)
				}
			}
		})
	}
	group.Wait()
	return outcomes, errors.Join(append(errs, ctx.Err())...)
}

// outcome is what became of one child.
type outcome struct {
	hung  string // what /proc said of a child that the watchdog killed
	wrong string // how a child ended that should have ended otherwise
}

func (c *Cell) add(o outcome) {
	c.Forks++
	switch {
	case o.hung != "":
		c.Hung++
	case o.wrong != "":
		c.Wrong++
	default:
		c.OK++
	}
	if c.Detail == "" {
		c.Detail = o.hung + o.wrong
	}
}
