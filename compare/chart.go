package compare

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"rawfork/internal/charts"
)

// A shape is the size of a chart, in points, which are CSS pixels where it isn't
// scaled.
type shape struct {
	width, height vg.Length
	text          vg.Length
}

// A page has each chart twice: as text in a chart shrinks with it, a telephone gets
// one of its own.
var (
	desktop   = shape{width: 700, height: 330, text: 12}
	telephone = shape{width: 350, height: 300, text: 11.5}
	picture   = shape{width: 820, height: 380, text: 13}
)

// svg draws a measure of an experiment: both axes logarithmic, a line with confidence
// intervals for each series. It is "" where nothing was measured. With a legend the
// names of the series stand to the right.
func (r *Result) svg(m Measure, size shape, legend bool) (string, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	legends := plot.NewLegend()
	names := &legends
	low, high := math.Inf(1), math.Inf(-1)
	all, zero := r.series(), r.zero(m)
	for n, s := range all {
		l := r.line(s, m, zero)
		if len(l.XYs) == 0 {
			continue
		}
		// Bars at the same x would lie on each other.
		for i := range l.XYs {
			l.XYs[i].X *= math.Pow(r.span(), apart*(float64(n)-float64(len(all)-1)/2))
		}
		for i, xy := range l.XYs {
			low, high = min(low, xy.Y-l.Low[i]), max(high, xy.Y+l.High[i])
		}
		drawn, err := l.Draw(p)
		if err != nil {
			return "", fmt.Errorf("chart of %s, %s: %w", r.Experiment, m.Name, err)
		}
		names.Add(s.String(), drawn...)
	}
	if math.IsInf(low, 0) {
		return "", nil
	}
	r.axes(p, m, size, logTicks(m, low, high, zero))

	if !legend {
		names = nil
	}
	svg, err := charts.SVG(p, size.width, size.height, names, size.text)
	if err != nil {
		return "", fmt.Errorf("chart of %s, %s: %w", r.Experiment, m.Name, err)
	}
	return svg, nil
}

// apart is the distance of two series at the same x, as a share of the axis.
const apart = 0.005

// span is how many times the smallest x the largest is.
func (r *Result) span() float64 {
	from, to, ok := r.ends()
	if !ok {
		return 1
	}
	return to / from
}

func (r *Result) line(s Series, m Measure, zero float64) charts.Line {
	meth := method(s.Method)
	l := charts.Line{Color: color.RGBA{uint8(meth.RGB >> 16), uint8(meth.RGB >> 8), uint8(meth.RGB), 255}, Dashes: dashes(s)}
	for _, x := range r.xs() {
		if f, ok := r.at(s, m.Name, x); ok {
			y := max(f.Median, zero)
			lo, hi := y, y // no bar where there is no interval
			if f.known() {
				lo, hi = max(min(float64(f.Lo), y), zero), max(float64(f.Hi), y)
			}
			l.XYs = append(l.XYs, plotter.XY{X: x, Y: y})
			l.Low, l.High = append(l.Low, y-lo), append(l.High, hi-y)
		}
	}
	return l
}

// zero is where a logarithmic axis has the value 0, below all others: counts have it,
// times don't.
func (r *Result) zero(m Measure) float64 {
	least := math.Inf(1)
	for _, p := range r.Points {
		if f, ok := p.Measured[m.Name]; ok {
			for _, v := range []float64{f.Median, float64(f.Lo), float64(f.Hi)} {
				if v > 0 { // which NaN isn't
					least = min(least, v)
				}
			}
		}
	}
	if math.IsInf(least, 0) {
		return 1
	}
	return least / 3
}

// dashes tell the memories of a method apart, and the floors from the others.
func dashes(s Series) []vg.Length {
	switch {
	case s.Memory == Huge:
		return []vg.Length{8, 3}
	case s.Memory == DontFork:
		return []vg.Length{2, 3}
	case method(s.Method).Floor:
		return []vg.Length{5, 4}
	}
	return nil
}

// axes scales the axes and labels them.
func (r *Result) axes(p *plot.Plot, m Measure, size shape, y []plot.Tick) {
	xs := r.xs()
	var x []plot.Tick
	for _, v := range xs {
		x = append(x, plot.Tick{Value: v, Label: r.x(v)})
	}
	room := math.Pow(r.span(), apart*float64(len(r.series()))/2)
	p.X.Min, p.X.Max = xs[0]/room, xs[len(xs)-1]*room
	if len(xs) == 1 {
		p.X.Min, p.X.Max = xs[0]/2, xs[0]*2
	}
	p.X.Label.Text = r.experiment.Axis.Text
	p.Y.Min, p.Y.Max = y[0].Value, y[len(y)-1].Value
	charts.Axes(p, size.text, x, y)
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
}

// logTicks are round values around what was measured: 1, 2 and 5 of each power of ten, or
// the powers alone where there are many; of bytes, powers of two.
func logTicks(m Measure, low, high, zero float64) []plot.Tick {
	var ticks []plot.Tick
	if low <= zero {
		ticks = append(ticks, plot.Tick{Value: zero, Label: "0"})
		low = min(3*zero, high)
	}
	var before []plot.Tick
	for _, v := range round(m, low, high) {
		if v < 2*zero && len(ticks) > 0 {
			continue // it would lie on the 0
		}
		tick := plot.Tick{Value: v, Label: tickLabel(m, v)}
		if v <= low*1.0001 {
			before = []plot.Tick{tick} // the last one of these
			continue
		}
		ticks, before = append(append(ticks, before...), tick), nil
		if v >= high*0.9999 {
			break
		}
	}
	return ticks
}

// round are round values from below low to above high.
func round(m Measure, low, high float64) (all []float64) {
	base, steps := 10.0, []float64{1, 2, 5}
	switch bytes := m.format(1) == "1 B"; {
	case bytes && high/low > 1<<12:
		base, steps = 16, []float64{1}
	case bytes:
		base, steps = 4, []float64{1}
	case high/low > 500:
		steps = []float64{1}
	}
	for e := math.Floor(math.Log(low)/math.Log(base) - 0.01); e <= math.Ceil(math.Log(high)/math.Log(base))+1; e++ {
		for _, s := range steps {
			all = append(all, s*math.Pow(base, e))
		}
	}
	return all
}

// tickLabel is a round value without the digits that say nothing.
func tickLabel(m Measure, v float64) string {
	number, unit, _ := strings.Cut(m.format(v), " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimSpace(number + " " + unit)
}
