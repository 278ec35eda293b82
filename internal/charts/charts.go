// Package charts has what the project's charts have in common: the look of their text
// and axes, and an SVG that may stand in a page.
package charts

import (
	"bytes"
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Style is that of all text, in the given size.
func Style(size vg.Length, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: color.Gray{40}, XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler,
		Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
	}
}

// Axes gives both axes of p their ticks and their look, with a grid behind.
func Axes(p *plot.Plot, size vg.Length, x, y []plot.Tick) {
	grid := plotter.NewGrid()
	grey := color.Gray{225}
	grid.Vertical.Color, grid.Horizontal.Color = grey, grey
	p.Add(grid)
	p.X.Label.TextStyle = Style(size, draw.XCenter, draw.YBottom)
	p.X.Label.Padding = 4
	p.X.Tick.Label = Style(size, draw.XCenter, draw.YTop)
	p.X.Tick.Marker = plot.ConstantTicks(x)
	p.Y.Tick.Label = Style(size, draw.XRight, draw.YCenter)
	p.Y.Tick.Marker = plot.ConstantTicks(y)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Padding, a.Tick.Length = 6, 4
		a.Color, a.Tick.Color = color.Gray{120}, color.Gray{120}
	}
}

// A Line is a series as it is drawn: a line through points with confidence intervals.
type Line struct {
	plotter.XYs
	Low, High []float64 // how far the interval reaches from the point
	Color     color.Color
	Dashes    []vg.Length
}

// YError returns the confidence interval of the point i, for [plotter.NewYErrorBars].
func (l Line) YError(i int) (low, high float64) { return l.Low[i], l.High[i] }

// Draw adds the line to p, and returns what stands for it in a legend.
func (l Line) Draw(p *plot.Plot) ([]plot.Thumbnailer, error) {
	line, points, err := plotter.NewLinePoints(l.XYs)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width, line.Dashes = l.Color, 1.8, l.Dashes
	points.Color, points.Shape, points.Radius = l.Color, draw.CircleGlyph{}, 2.8
	bars, err := plotter.NewYErrorBars(l)
	if err != nil {
		return nil, err
	}
	bars.Color, bars.Width, bars.CapWidth = l.Color, 1, 5
	p.Add(line, points, bars)
	return []plot.Thumbnailer{line, points}, nil
}

// legendRoom is the width of a legend, to the right of a plot.
const legendRoom = 150

// SVG draws the plot. With names, which may be nil, a legend stands to the right. What
// only a file of its own needs is left out, and fonts are named of which every machine
// has one; all have the same widths.
func SVG(p *plot.Plot, width, height vg.Length, names *plot.Legend, size vg.Length) (string, error) {
	canvas := vgsvg.New(width, height)
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	if names != nil {
		names.Top, names.Left, names.TextStyle = true, true, Style(size, draw.XLeft, draw.YBottom) // else its lines overlap
		names.ThumbnailWidth = 24
		names.Padding = 2
		names.Draw(draw.Crop(dc, width-legendRoom, 0, 0, -10))
		dc = draw.Crop(dc, 0, -legendRoom-10, 0, 0)
	}
	p.Draw(draw.Crop(dc, 2, -14, 2, -8))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", err
	}
	return clean(out.String(), width, height), nil
}

func clean(svg string, width, height vg.Length) string {
	if i := strings.Index(svg, "<svg"); i >= 0 {
		svg = svg[i:]
	}
	svg = strings.ReplaceAll(svg, "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	svg = strings.ReplaceAll(svg, "font-variant:none;", "")
	head, body, _ := strings.Cut(svg, ">")
	if i := strings.Index(head, "viewBox"); i >= 0 {
		head = fmt.Sprintf(`<svg width="%.0f" height="%.0f" %s`, width, height, head[i:])
	}
	return head + ">" + body
}
