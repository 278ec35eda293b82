package compare

// The runner and its measuring processes speak JSON over two pipes, one value a
// line: a setup, which is answered, and then requests, each of them answered.

// A request asks a measuring process for a turn, or for the states of the processes
// that the methods make.
type request struct {
	Turn     *turn    `json:"turn,omitempty"`
	Describe []string `json:"describe,omitempty"` // methods
}

// An answer is what came of it.
type answer struct {
	Measured map[string]float64 `json:"measured,omitempty"`
	Sides    []Side             `json:"sides,omitempty"`
	Error    string             `json:"error,omitempty"`
	Lack     bool               `json:"lack,omitempty"` // the error is that this machine doesn't have what was asked for
}

// environment tells a process of this program what to be, see [Init].
const environment = "RAWFORK_COMPARE"

const (
	playMeasure = "measure" // a measuring process: standard input and output are the pipes
	playStamp   = "stamp"   // a Go program that writes the time to descriptor 3 and exits
)
