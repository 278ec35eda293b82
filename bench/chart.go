//go:build linux && cgo && (amd64 || arm64)

package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"rawfork/internal/charts"
)

// growth is how calls grow with the number of something, for a chart.
type growth struct {
	of     string // threads or descriptors
	points []growthPoint
	floor  []growthPoint // calls of the least that C must do; may be none
}

// growthPoint is what was measured with so many, in microseconds.
type growthPoint struct {
	n                         int
	inC, call, first, allowed []float64
}

// write draws the chart into a file of the directory.
func (g growth) write(directory string) error {
	svg, err := g.svg()
	if err != nil {
		return fmt.Errorf("chart of %s: %w", g.of, err)
	}
	return os.WriteFile(filepath.Join(directory, "forkall-"+g.of+".svg"), []byte(svg), 0o644)
}

func (g growth) svg() (string, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	names := plot.NewLegend()
	highest := 0.0
	for _, s := range []struct {
		name   string
		points []growthPoint
		of     func(growthPoint) []float64
		color  color.RGBA
		dashes []vg.Length
	}{
		{"child's first line", g.points, func(p growthPoint) []float64 { return p.first }, color.RGBA{0xb4, 0x5f, 0x06, 255}, nil},
		{"forkall.Fork, call", g.points, func(p growthPoint) []float64 { return p.call }, color.RGBA{0x1f, 0x5f, 0xbf, 255}, nil},
		{"held in C alone", g.floor, func(p growthPoint) []float64 { return p.call }, color.RGBA{0x2e, 0x7d, 0x32, 255}, nil},
		{"target of the call", g.points, func(p growthPoint) []float64 { return p.allowed }, color.RGBA{0x1f, 0x5f, 0xbf, 255}, []vg.Length{2, 3}},
		{"fork in C", g.points, func(p growthPoint) []float64 { return p.inC }, color.RGBA{0x60, 0x60, 0x60, 255}, []vg.Length{5, 4}},
	} {
		if len(s.points) == 0 {
			continue
		}
		l := charts.Line{Color: s.color, Dashes: s.dashes}
		for _, point := range s.points {
			f := summary(s.of(point))
			l.XYs = append(l.XYs, plotter.XY{X: float64(point.n), Y: f.Center / 1e3})
			l.Low, l.High = append(l.Low, (f.Center-f.Lo)/1e3), append(l.High, (f.Hi-f.Center)/1e3)
			highest = max(highest, f.Hi/1e3)
		}
		drawn, err := l.Draw(p)
		if err != nil {
			return "", err
		}
		names.Add(s.name, drawn...)
	}
	const width, height, size = 820, 380, 13
	most := float64(g.points[len(g.points)-1].n)
	x, y := linearTicks(most, ""), linearTicks(highest, " ms")
	p.X.Label.Text = g.of
	charts.Axes(p, size, x, y)
	p.X.Min, p.X.Max = 0, max(most, x[len(x)-1].Value)
	p.Y.Min, p.Y.Max = 0, max(highest, y[len(y)-1].Value)
	return charts.SVG(p, width, height, &names, size)
}

// linearTicks are round values from 0 to the last one below highest.
func linearTicks(highest float64, unit string) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, part := range []float64{0.2, 0.5, 1} {
		if highest/(step*part) <= 8 {
			step *= part
			break
		}
	}
	for i := range int(highest/step) + 1 {
		v := float64(i) * step
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 4, 64) + unit})
	}
	return ticks
}
