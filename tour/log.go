package tour

// A Line is one line of what a step shows.
type Line struct {
	Kind Kind
	Text string
}

// Kind tells where a line comes from.
type Kind int

const (
	Say Kind = iota // the tour tells
	Out             // a process of the step wrote it
	Ps              // ps
)
