package compare

const (
	kB = 1 << 10
	mB = 1 << 20
	gB = 1 << 30
)

func plain(methods ...string) []Series {
	var all []Series
	for _, m := range methods {
		all = append(all, Series{Method: m})
	}
	return all
}

// programs are the methods that execute a program, and their floors.
var programs = plain("syscall", "osexec", "fork", "vfork", "spawn", "helper", "cfork", "cvfork")

func heapIsX(need *setup, _ *turn, x float64) { need.Heap = int64(x) }

// experiments is the table of experiments. A claim of docs/why.md names one.
var experiments = []Experiment{
	{
		Name:      "heap",
		Question:  "What does it cost to start a program, by the size of the caller's resident memory?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{16 * mB, 64 * mB, 256 * mB, 1 * gB, 4 * gB},
		Quick:     []float64{16 * mB, 256 * mB},
		Series:    programs,
		Reference: Series{Method: "syscall"},
		Measures:  []string{"wait", "return", "first", "parent-faults", "child-faults", "parent-switches", "child-switches"},
		work:      workExec, starts: 2,
		vary:   heapIsX,
		answer: answerHeap,
		expect: []expectation{
			{"vfork is no slower than syscall.ForkExec", notSlower("vfork", "wait")},
			{"spawn is no slower than syscall.ForkExec", notSlower("spawn", "wait")},
			{"the helper costs the same at every heap: at most 1.1 times as much at the largest as at the smallest", flat("helper", "wait", 1.1)},
			{"the helper is within 1.1 of syscall.ForkExec", within("helper", "wait", 1.1)},
		},
	},
	{
		Name:      "fork",
		Question:  "What does Fork cost above libc's fork in C?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{16 * mB, 64 * mB, 256 * mB, 1 * gB, 4 * gB},
		Quick:     []float64{16 * mB, 256 * mB},
		Series:    plain("fork-only", "cfork-only", "cvfork-only"),
		Reference: Series{Method: "cfork-only"},
		Measures:  []string{"wait", "return", "parent-faults", "child-faults", "parent-switches", "child-switches"},
		work:      workFork, starts: 4,
		vary:   heapIsX,
		answer: answerFork,
		expect: []expectation{
			{"Fork takes at most 1.05 times as long as fork in C", within("fork-only", "wait", 1.05)},
		},
	},
	{
		Name:      "hugepages",
		Question:  "What do huge pages and MADV_DONTFORK change for a fork?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{64 * mB, 256 * mB, 1 * gB, 4 * gB},
		Quick:     []float64{64 * mB, 256 * mB},
		Series:    []Series{{"fork-only", Small}, {"fork-only", Huge}, {"fork-only", DontFork}, {"cvfork-only", Small}},
		Reference: Series{Method: "fork-only"},
		Measures:  []string{"wait", "return"},
		work:      workFork, starts: 4,
		vary:   heapIsX,
		answer: answerHuge,
		expect: []expectation{
			{"with huge pages a fork at 1 GB takes at most 1/5 of the time with small ones", hugeFifth},
		},
	},
	{
		Name:      "tables",
		Question:  "What does a new process copy, and what does it share with its parent?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{64 * mB, 256 * mB, 1 * gB},
		Quick:     []float64{64 * mB, 128 * mB},
		Series:    []Series{{"fork-only", Small}, {"fork-only", Huge}, {"fork-only", DontFork}, {"syscall", Small}, {"vfork", Small}, {"helper", Small}},
		Reference: Series{Method: "syscall"},
		Measures:  []string{"tables", "shared"},
		work:      workHold, starts: 1,
		vary:   heapIsX,
		answer: answerTables,
	},
	{
		Name:      "written",
		Question:  "What do the parent's writes cost after a fork, while the child lives?",
		Axis:      Axis{"pages of 4 kB that the parent writes to", false},
		X:         []float64{1, 16, 256, 4096, 65536},
		Quick:     []float64{16, 1024},
		Series:    []Series{{"none", Small}, {"fork-only", Small}, {"fork-only", Huge}, {"syscall", Small}},
		Reference: Series{Method: "none"},
		Measures:  []string{"write", "write-faults"},
		work:      workHold, starts: 1,
		setup:  func(need *setup) { need.Heap = 256 * mB },
		vary:   func(_ *setup, do *turn, x float64) { do.Pages = int(x) },
		answer: answerWritten,
	},
	{
		Name:      "latency",
		Question:  "What do other goroutines notice while a process is made?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{16 * mB, 256 * mB, 1 * gB},
		Quick:     []float64{16 * mB, 256 * mB},
		Series:    plain("none", "fork-only", "fork", "vfork", "spawn", "helper", "syscall"),
		Reference: Series{Method: "syscall"},
		Measures:  []string{"gap-fault", "gap-stw", "gap-compute"},
		work:      workLatency, starts: 1,
		vary:   heapIsX,
		answer: answerLatency,
	},
	{
		Name:      "threads",
		Question:  "What do the caller's threads cost?",
		Axis:      Axis{"threads of the caller", false},
		X:         []float64{16, 64, 256, 1024},
		Quick:     []float64{16, 512},
		Series:    programs,
		Reference: Series{Method: "syscall"},
		Measures:  []string{"wait"},
		work:      workExec, starts: 2,
		vary:   func(need *setup, _ *turn, x float64) { need.Threads = int(x) },
		answer: answerGrowth,
	},
	{
		Name:      "mappings",
		Question:  "What do the caller's memory mappings cost?",
		Axis:      Axis{"memory mappings of the caller", false},
		X:         []float64{100, 1000, 10000, 50000},
		Quick:     []float64{100, 10000},
		Series:    programs,
		Reference: Series{Method: "syscall"},
		Measures:  []string{"wait"},
		work:      workExec, starts: 2,
		vary:   func(need *setup, _ *turn, x float64) { need.Mappings = int(x) },
		answer: answerGrowth,
	},
	{
		Name:      "descriptors",
		Question:  "What do the caller's open descriptors cost?",
		Axis:      Axis{"open descriptors of the caller", false},
		X:         []float64{10, 100, 1000, 10000},
		Quick:     []float64{10, 10000},
		Series:    programs,
		Reference: Series{Method: "syscall"},
		Measures:  []string{"wait"},
		work:      workExec, starts: 2,
		vary:   func(need *setup, _ *turn, x float64) { need.Descriptors = int(x) },
		answer: answerGrowth,
	},
	{
		Name:      "parallel",
		Question:  "What does a start cost when many goroutines start programs at the same time?",
		Axis:      Axis{"goroutines that start programs", false},
		X:         []float64{1, 2, 4, 8, 16},
		Quick:     []float64{1, 8},
		Series:    plain("syscall", "osexec", "fork", "vfork", "spawn", "helper"),
		Reference: Series{Method: "syscall"},
		Measures:  []string{"each", "return", "half"},
		work:      workParallel,
		setup:     func(need *setup) { need.Heap = 64 * mB },
		vary:      func(_ *setup, do *turn, x float64) { do.Starts = int(x) },
		answer:    answerParallel,
	},
	{
		Name:      "ready",
		Question:  "How long until Go code runs in a new process?",
		Axis:      Axis{"resident memory of the caller", true},
		X:         []float64{16 * mB, 256 * mB, 1 * gB},
		Quick:     []float64{16 * mB, 64 * mB},
		Series:    plain("syscall", "osexec", "gochild", "ready"),
		Reference: Series{Method: "syscall"},
		Measures:  []string{"first", "wait"},
		work:      workGo, starts: 2,
		vary:   heapIsX,
		answer: answerReady,
		expect: []expectation{
			{"a ready Go child runs in at most 1/20 of the time of a re-exec", within("ready", "first", 0.05)},
		},
	},
}
