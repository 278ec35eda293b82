package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// RunOptions say what to run of the caveats and the matrix.
type RunOptions struct {
	Match string // a regular expression for the ids of caveats and the name "matrix"; "" for all
	Tries int    // of each caveat; the matrix makes 40 times as many forks

	// Starting, if not nil, is told of each caveat before it is shown, with its place
	// and the number of all, and of the matrix. Building, if not nil, is told after it of
	// a caveat that takes a build first: see [Caveat.Building].
	Starting func(name string, i, n int)
	Building func(c Caveat, i, n int)
}

// ErrNoMatch is what Run returns when no caveat's id matches, nor matrix.
var ErrNoMatch = errors.New("nothing matches")

// matrixName is what the matrix is called beside the caveats.
const matrixName = "matrix"

// forksPerTry makes the matrix 2,000 forks long when caveats are tried 50 times.
const forksPerTry = 40

// Run shows the caveats and runs the matrix, and tells what it finds as it goes. When
// ctx ends, so does the run, and the report is what was found until then.
func Run(ctx context.Context, options RunOptions, onShowing func(Showing), onCell func(Cell)) (Report, error) {
	report := Report{Machine: machine()}
	match, err := regexp.Compile(options.Match)
	if err != nil {
		return report, err
	}
	var list []Caveat
	for _, c := range Caveats() {
		if match.MatchString(c.ID) {
			list = append(list, c)
		}
	}
	matrix, steps := match.MatchString(matrixName), len(list)
	if matrix {
		steps++
	}
	if steps == 0 {
		return report, fmt.Errorf("%w %q: there are the caveats' ids and %s", ErrNoMatch, options.Match, matrixName)
	}
	starting := func(name string, i int) {
		if options.Starting != nil {
			options.Starting(name, i, steps)
		}
	}
	for i, c := range list {
		starting(c.ID, i)
		if c.Building() != "" && options.Building != nil {
			options.Building(c, i, steps)
		}
		showing, err := Show(ctx, c, options.Tries)
		if errors.Is(err, errors.ErrUnsupported) {
			continue // package forkall knows fewer platforms
		}
		if err != nil {
			return report, err
		}
		report.Showings = append(report.Showings, showing)
		onShowing(showing)
	}
	if matrix {
		starting(matrixName, len(list))
		plan := Plan{Forks: forksPerTry * options.Tries, Control: 3}
		err := Matrix(ctx, plan, func(c Cell) {
			report.Cells = append(report.Cells, c)
			onCell(c)
		})
		if err != nil {
			return report, err
		}
	}
	return report, nil
}

// machine says what figures depend on.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s/%s, %d CPUs, Linux %s, %s, load average %s", runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), bytes.TrimSpace(kernel), runtime.Version(), strings.Split(string(load)+" ", " ")[0])
}
