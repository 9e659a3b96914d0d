package report

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Point is one measurement of a curve.
type Point struct{ X, Y float64 }

// Series is one named curve.
type Series struct {
	Name   string
	Points []Point
}

// maxPoints is how many points of a curve are drawn; more would be finer than the picture and make a large file.
const maxPoints = 600

// The colours are those of Okabe and Ito, which people with any colour vision tell apart.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{230, 159, 0, 255}, {86, 180, 233, 255}, {0, 0, 0, 255},
}

// maxValue bounds what is drawn. A loss or step beyond it is a run that diverged, and would flatten all others to a line.
const maxValue = 1e12

// WriteCurves draws loss curves over training steps as SVG. Points that are not finite, or beyond 1e12, are left out; curves of many points
// are averaged over equal ranges of points. The same curves give the same bytes.
func WriteCurves(w io.Writer, title string, curves []Series) error {
	p, err := draft(title, curves)
	if err != nil {
		return err
	}
	const width, height = 18 * vg.Centimeter, 11 * vg.Centimeter
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("report: writing the curves: %w", err)
	}
	return nil
}

func draft(title string, curves []Series) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "step"
	p.Y.Label.Text = "loss, nats a token"
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	drawn := 0
	for i, s := range curves {
		points := thin(s.Points, maxPoints)
		if len(points) == 0 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("report: drawing %q: %w", s.Name, err)
		}
		line.Color = palette[i%len(palette)]
		line.Width = vg.Points(1.2)
		if i >= len(palette) { // colours repeat, so the line is broken instead
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
		}
		p.Add(line)
		p.Legend.Add(s.Name, line)
		if len(points) == 1 { // a line of one point is invisible
			dot, err := plotter.NewScatter(points)
			if err != nil {
				return nil, fmt.Errorf("report: drawing %q: %w", s.Name, err)
			}
			dot.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
			p.Add(dot)
		}
		drawn++
	}
	if drawn == 0 {
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	}
	widen(&p.X)
	widen(&p.Y)
	return p, nil
}

// widen gives an axis a range wide enough for its ticks to be different numbers.
func widen(a *plot.Axis) {
	least := 1e-6 * max(1, math.Abs(a.Min), math.Abs(a.Max))
	if a.Max-a.Min < least {
		mid := a.Min/2 + a.Max/2
		a.Min, a.Max = mid-least, mid+least
	}
}

// thin averages neighbouring points until at most n are left.
func thin(points []Point, n int) plotter.XYs {
	var finite []Point
	for _, p := range points {
		if math.Abs(p.X) <= maxValue && math.Abs(p.Y) <= maxValue { // false for NaN
			finite = append(finite, p)
		}
	}
	group := max(1, (len(finite)+n-1)/n)
	out := make(plotter.XYs, 0, n)
	for i := 0; i < len(finite); i += group {
		part := finite[i:min(i+group, len(finite))]
		var x, y float64
		for _, p := range part {
			x += p.X / float64(len(part))
			y += p.Y / float64(len(part))
		}
		out = append(out, plotter.XY{X: x, Y: y})
	}
	return out
}
