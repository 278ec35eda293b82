package timing

// Report is a series in the form for JSON. Times are in seconds.
type Report struct {
	Command []string `json:"command"`
	Path    string   `json:"path"`
	Method  string   `json:"method"`
	Exit    int      `json:"exit"`
	Runs    []report `json:"runs"`
	Min     spreadOf `json:"min"`
	Median  spreadOf `json:"median"`
	Max     spreadOf `json:"max"`
}

type report struct {
	Status int    `json:"status"`           // the exit status, 128 and more for a signal
	Signal string `json:"signal,omitempty"` // the signal's name
	Core   bool   `json:"core_dumped,omitempty"`
	spreadOf
}

type spreadOf struct {
	Wall   float64 `json:"wall_seconds"`
	User   float64 `json:"user_seconds"`
	System float64 `json:"system_seconds"`
	Peak   int64   `json:"peak_bytes"`
	Hidden bool    `json:"peak_is_upper_bound"` // the program's own peak is not above this
}

// Report returns the series in the form for JSON.
func (s Series) Report() Report {
	r := Report{Command: s.Program.Argv, Path: s.Program.Path, Method: s.Program.By.String(), Exit: s.Exit(), Runs: []report{}}
	for _, run := range s.Runs {
		one := report{Status: run.Exit(), Core: run.Status.CoreDump(),
			spreadOf: s.seconds(int64(run.Wall), int64(run.User), int64(run.System), run.Peak)}
		if run.Status.Signaled() {
			one.Signal = signalName(run.Status.Signal())
		}
		r.Runs = append(r.Runs, one)
	}
	var columns [3][]int64
	for _, m := range measures {
		values := spread(s.Runs, m.of)
		for i := range columns {
			columns[i] = append(columns[i], values[min(i, len(values)-1)])
		}
	}
	for i, to := range []*spreadOf{&r.Min, &r.Median, &r.Max} {
		c := columns[i]
		*to = s.seconds(c[0], c[1], c[2], c[3])
	}
	return r
}

func (s Series) seconds(wall, user, system, peak int64) spreadOf {
	return spreadOf{float64(wall) / 1e9, float64(user) / 1e9, float64(system) / 1e9, peak, s.hidden(peak)}
}
