//go:build !(linux && cgo && (amd64 || arm64))

package rules

import "context"

type action struct {
	name string
	run  func(ctx context.Context) (outcome, error)
}

type control struct{ name string }

var controlActions []control

var libraryActions []action

func startControl(context.Context, int) (func() ([][]outcome, error), error) {
	return func() ([][]outcome, error) { return nil, nil }, nil
}

func caveats() []Caveat { return nil }

// A Process is a process that a check drives. There are none here.
type Process struct{}

func rules() []Rule { return nil }
