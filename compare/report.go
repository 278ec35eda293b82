package compare

import (
	"encoding/json"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"

	"rawfork/internal/machine"
)

// A Report is what a run has measured.
type Report struct {
	Machine   machine.Machine `json:"machine"`
	LoadAtEnd string          `json:"load_at_end"`
	Others    float64         `json:"others"` // the share of the processors' time that the run did not have or leave idle
	Quick     bool            `json:"quick"`
	Seconds   float64         `json:"seconds"`
	Stopped   string          `json:"stopped,omitempty"` // why the run ended before all was measured
	Noise     []string        `json:"noise"`             // why the figures are to be doubted; none: a quiet machine
	Measures  []Measure       `json:"measures"`          // what the names in Measured mean
	Results   []Result        `json:"results"`
	Semantics *Semantics      `json:"semantics,omitempty"`
}

// A Result is what came of one experiment.
type Result struct {
	Experiment string    `json:"experiment"`
	Question   string    `json:"question"`
	Answer     string    `json:"answer"` // computed from the figures
	Reference  Series    `json:"reference"`
	Points     []Point   `json:"points"`
	Expected   []Verdict `json:"expected,omitempty"`
	Notes      []string  `json:"notes,omitempty"` // what was not measured as asked for, and why

	experiment *Experiment
	ended      bool     // all its points have been gone through
	late       []string // the points that there was no time for
}

// A Point is one series at one x.
type Point struct {
	Series
	X        float64           `json:"x"`
	Measured map[string]Figure `json:"measured"` // by the name of the measure
}

// A Figure is the median of a measure over the turns, with its 95% confidence interval.
type Figure struct {
	Interval
	// Ratio is the median of the ratios to the reference, turn by turn. It is nil
	// for the reference itself, and where the reference is 0.
	Ratio *Interval `json:"ratio,omitempty"`
	Turns []float64 `json:"turns"` // in the order in which they were measured
}

// An Interval is a median and its 95% confidence interval. Of fewer than six values
// there is none: then the bounds are NaN.
type Interval struct {
	Median float64 `json:"median"`
	Lo     Bound   `json:"lo"`
	Hi     Bound   `json:"hi"`
}

// A Bound is an end of an interval. NaN, which JSON doesn't have, is null there.
type Bound float64

// MarshalJSON writes the bound as a number or null.
func (b Bound) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(b)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(b))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bound) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*b = Bound(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(b))
}

// known tells whether there is an interval.
func (i Interval) known() bool { return !math.IsNaN(float64(i.Lo)) && !math.IsNaN(float64(i.Hi)) }

// interval summarises values, of which there is at least one.
func interval(values []float64) Interval {
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	s := benchmath.AssumeNothing.Summary(sample, 0.95)
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) { // too few values
		s.Lo, s.Hi = math.NaN(), math.NaN()
	}
	return Interval{s.Center, Bound(s.Lo), Bound(s.Hi)}
}

// figure summarises the turns of a measure. reference are those of the reference,
// nil for the reference itself.
func figure(turns, reference []float64) Figure {
	f := Figure{Interval: interval(turns), Turns: turns}
	var ratios []float64
	for i := range min(len(turns), len(reference)) {
		if reference[i] != 0 {
			ratios = append(ratios, turns[i]/reference[i])
		}
	}
	if len(ratios) > 0 {
		r := interval(ratios)
		f.Ratio = &r
	}
	return f
}

// uncertain tells whether the interval reaches further than a tenth from the
// median, as one that isn't known does.
func (i Interval) uncertain() bool {
	return i.Median > 0 && (!i.known() || max(float64(i.Hi)-i.Median, i.Median-float64(i.Lo)) > i.Median/10)
}

// xs are the values of x that were measured, ascending.
func (r *Result) xs() []float64 {
	var xs []float64
	for _, p := range r.Points {
		if !slices.Contains(xs, p.X) {
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	return xs
}

// at returns a figure, if it was measured.
func (r *Result) at(s Series, measure string, x float64) (Figure, bool) {
	for _, p := range r.Points {
		if p.Series == s && p.X == x {
			f, ok := p.Measured[measure]
			return f, ok
		}
	}
	return Figure{}, false
}

// series are those that were measured, in the order of the experiment.
func (r *Result) series() []Series {
	return slices.DeleteFunc(slices.Clone(r.experiment.Series), func(s Series) bool {
		return !slices.ContainsFunc(r.Points, func(p Point) bool { return p.Series == s })
	})
}

// measured tells whether there is any figure.
func (r *Report) measured() bool {
	return slices.ContainsFunc(r.Results, func(result Result) bool { return len(result.Points) > 0 })
}

// result returns that of an experiment, or nil.
func (r *Report) result(experiment string) *Result {
	for i := range r.Results {
		if r.Results[i].Experiment == experiment {
			return &r.Results[i]
		}
	}
	return nil
}
