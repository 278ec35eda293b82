package compare

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
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
	names := plot.NewLegend()
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
			low, high = min(low, xy.Y-l.low[i]), max(high, xy.Y+l.high[i])
		}
		drawn, err := l.draw(p)
		if err != nil {
			return "", fmt.Errorf("chart of %s, %s: %w", r.Experiment, m.Name, err)
		}
		names.Add(s.String(), drawn...)
	}
	if math.IsInf(low, 0) {
		return "", nil
	}
	r.axes(p, m, size, logTicks(m, low, high, zero))

	canvas := vgsvg.New(size.width, size.height)
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	if legend {
		const room = 150
		names.Top, names.Left, names.TextStyle = true, true, style(size.text, draw.XLeft, draw.YBottom) // else its lines overlap
		names.ThumbnailWidth = 24
		names.Padding = 2
		names.Draw(draw.Crop(dc, size.width-room, 0, 0, -10))
		dc = draw.Crop(dc, 0, -room-10, 0, 0)
	}
	p.Draw(draw.Crop(dc, 2, -14, 2, -8))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", fmt.Errorf("chart of %s, %s: %w", r.Experiment, m.Name, err)
	}
	return clean(out.String(), size), nil
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

// clean takes from an SVG what only a file of its own needs, and names fonts of which
// every machine has one; all have the same widths.
func clean(svg string, size shape) string {
	if i := strings.Index(svg, "<svg"); i >= 0 {
		svg = svg[i:]
	}
	svg = strings.ReplaceAll(svg, "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	svg = strings.ReplaceAll(svg, "font-variant:none;", "")
	head, body, _ := strings.Cut(svg, ">")
	if i := strings.Index(head, "viewBox"); i >= 0 {
		head = fmt.Sprintf(`<svg width="%.0f" height="%.0f" %s`, size.width, size.height, head[i:])
	}
	return head + ">" + body
}

// line is a series as it is drawn.
type chartLine struct {
	plotter.XYs
	low, high []float64 // how far the interval reaches from the median
	colour    color.Color
	dashes    []vg.Length
}

func (r *Result) line(s Series, m Measure, zero float64) chartLine {
	meth := method(s.Method)
	l := chartLine{colour: color.RGBA{uint8(meth.RGB >> 16), uint8(meth.RGB >> 8), uint8(meth.RGB), 255}, dashes: dashes(s)}
	for _, x := range r.xs() {
		if f, ok := r.at(s, m.Name, x); ok {
			y := max(f.Median, zero)
			l.XYs = append(l.XYs, plotter.XY{X: x, Y: y})
			l.low = append(l.low, y-max(min(f.Lo, y), zero))
			l.high = append(l.high, max(f.Hi, y)-y)
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
			for _, v := range []float64{f.Median, f.Lo, f.Hi} {
				if v > 0 {
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

func (l chartLine) YError(i int) (low, high float64) { return l.low[i], l.high[i] }

func (l chartLine) draw(p *plot.Plot) ([]plot.Thumbnailer, error) {
	line, points, err := plotter.NewLinePoints(l.XYs)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width, line.Dashes = l.colour, 1.8, l.dashes
	points.Color, points.Shape, points.Radius = l.colour, draw.CircleGlyph{}, 2.8
	bars, err := plotter.NewYErrorBars(l)
	if err != nil {
		return nil, err
	}
	bars.Color, bars.Width, bars.CapWidth = l.colour, 1, 5
	p.Add(line, points, bars)
	return []plot.Thumbnailer{line, points}, nil
}

// axes scales the axes and labels them.
func (r *Result) axes(p *plot.Plot, m Measure, size shape, y []plot.Tick) {
	grid := plotter.NewGrid()
	grey := color.Gray{225}
	grid.Vertical.Color, grid.Horizontal.Color = grey, grey
	p.Add(grid)

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
	p.X.Label.TextStyle = style(size.text, draw.XCenter, draw.YBottom)
	p.X.Label.Padding = 4
	p.X.Tick.Label = style(size.text, draw.XCenter, draw.YTop)
	p.X.Tick.Marker = plot.ConstantTicks(x)

	p.Y.Min, p.Y.Max = y[0].Value, y[len(y)-1].Value
	p.Y.Tick.Label = style(size.text, draw.XRight, draw.YCenter)
	p.Y.Tick.Marker = plot.ConstantTicks(y)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Scale = plot.LogScale{}
		a.Padding, a.Tick.Length = 6, 4
		a.Color, a.Tick.Color = color.Gray{120}, color.Gray{120}
	}
}

func style(size vg.Length, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: color.Gray{40}, XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler,
		Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
	}
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
