//go:build linux && cgo && (amd64 || arm64)

// Bench measures rawfork against the same work in C, in one run: Fork against a
// loop of fork, _exit and waitpid at several heap sizes, the methods of ForkExec
// against syscall.ForkExec and against C, package helper, the echo server of the
// examples and package serve against servers written in C, package forkall against a
// plain fork. What is compared takes turns, so that a change of the machine's load
// meets both.
//
//	go run ./bench -o docs/bench.txt -charts docs
//
// Figures are medians with their 95% confidence interval, of less than six turns
// with the smallest and the largest value. A ratio is the median of the ratios of the
// turns.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"golang.org/x/perf/benchmath"

	"rawfork/helper"
	"rawfork/internal/machine"
)

func main() {
	helper.Init() // for the Go children of the servers
	out := flag.String("o", "", "also write the report to this `file`")
	charts := flag.String("charts", "", "write the charts of forkall into this `directory`")
	rounds := flag.Int("rounds", 40, "turns of each side")
	only := flag.String("only", "", "fork, start, helper, echo, serve or forkall")
	role := flag.String("server", "", "play this server, for a measuring process")
	ballast := flag.Int("ballast", 0, "how many MB the server uses")
	warm := flag.Int("warm", 0, "play a program that warms up so many MB, for the benchmark of forkall")
	flag.Parse()
	if *role != "" {
		if err := play(*role, *ballast); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if *warm > 0 {
		if err := playWarm(*warm); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*out, *only, *charts, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(out, only, charts string, rounds int) error {
	var w io.Writer = os.Stdout
	if out != "" {
		file, err := os.Create(out)
		if err != nil {
			return err
		}
		defer file.Close()
		w = io.MultiWriter(os.Stdout, file)
	}
	for _, line := range machine.Look().Lines() {
		fmt.Fprintln(w, line)
	}
	for _, part := range []struct {
		name string
		run  func(io.Writer, int) error
	}{{"fork", benchFork}, {"start", benchStart}, {"helper", func(w io.Writer, rounds int) error { return benchHelper(w, (rounds+3)/4) }}, {"echo", benchEcho}, {"serve", func(w io.Writer, rounds int) error { return benchServe(w, (rounds+3)/4) }}, {"forkall", func(w io.Writer, rounds int) error { return benchForkall(w, rounds, charts) }}} {
		if only != "" && only != part.name {
			continue
		}
		if err := part.run(w, rounds); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nload at the end:", machine.Load())
	return nil
}

// median puts a sample's median and confidence interval into words.
func median(values []float64, format string) string {
	s := summary(values)
	return fmt.Sprintf(format+" ["+format+", "+format+"]", s.Center, s.Lo, s.Hi)
}

// summary is a median and its confidence interval, or the smallest and the largest
// value where there are too few for that. The values stay as they are.
func summary(values []float64) benchmath.Summary {
	sorted := slices.Sorted(slices.Values(values))
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(sorted), &benchmath.DefaultThresholds), 0.95)
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) {
		s.Lo, s.Hi = sorted[0], sorted[len(sorted)-1]
	}
	return s
}

// ratios divides turn by turn.
func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}
