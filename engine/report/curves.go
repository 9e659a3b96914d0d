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

// Series are the curves of one model. Both are cross-entropies in nats a token, so that models can be compared.
type Series struct {
	Name   string
	Points []Point // evaluations, the same for all models; drawn with dots
	Train  []Point // on training batches; drawn thin, in the same colour
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

// minLog is the least loss that a logarithmic axis shows: fewer nats are rounding.
const minLog = 1e-9

// logFrom is how many times the least loss the largest has to be for a logarithmic axis. Below it the curves fill a linear
// one well, which is easier to read.
const logFrom = 5

// The size of the picture, and its parts.
const (
	pictureWidth, pictureHeight = 24 * vg.Centimeter, 11 * vg.Centimeter

	legendGap = 4 * vg.Millimeter // between curves and legend
	maxLegend = 8 * vg.Centimeter // its width; longer names run out of the picture rather than over the curves
)

// WriteCurves draws loss curves over training steps as SVG. Points that are not finite, or beyond 1e12, are left out; curves of many points
// are averaged over equal ranges of points. The same curves give the same bytes.
func WriteCurves(w io.Writer, title string, curves []Series) error {
	p, legend, err := draft(title, curves)
	if err != nil {
		return err
	}
	canvas := vgsvg.New(pictureWidth, pictureHeight)
	left, right := layout(draw.New(canvas), legend.widest)
	p.Draw(left)
	legend.Draw(right)
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("report: writing the curves: %w", err)
	}
	return nil
}

// layout divides a picture into curves and legend, side by side.
func layout(c draw.Canvas, widest vg.Length) (curves, legend draw.Canvas) {
	width := min(widest, maxLegend)
	return draw.Crop(c, 0, -width-legendGap, 0, 0), draw.Crop(c, c.Rectangle.Size().X-width, 0, 0, -legendGap)
}

// key is a legend that knows how wide it is.
type key struct {
	plot.Legend
	widest vg.Length
}

func newKey() key {
	l := key{Legend: plot.NewLegend()}
	l.Top, l.Left = true, true
	return l
}

func (k *key) add(name string, icon plot.Thumbnailer) {
	k.Add(name, icon)
	text := k.TextStyle.Rectangle(name)
	k.widest = max(k.widest, k.ThumbnailWidth+k.TextStyle.Rectangle(" ").Max.X+text.Size().X)
}

func draft(title string, curves []Series) (*plot.Plot, *key, error) {
	p, legend := plot.New(), newKey()
	p.Title.Text = title
	p.X.Label.Text = "step"
	p.Y.Label.Text = "cross-entropy, nats a token"
	p.Add(plotter.NewGrid())
	d := drawing{p: p, least: math.Inf(1), most: math.Inf(-1)}
	anyTrain := false
	for i, s := range curves {
		style := draw.LineStyle{Color: palette[i%len(palette)]}
		if i >= len(palette) { // colours repeat, so the line is broken instead
			style.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
		}
		train, err := d.line(s.Name, s.Train, style, vg.Points(0.4), false)
		if err != nil {
			return nil, nil, err
		}
		eval, err := d.line(s.Name, s.Points, style, vg.Points(1.6), true)
		if err != nil {
			return nil, nil, err
		}
		switch anyTrain = anyTrain || train != nil; {
		case eval != nil:
			legend.add(s.Name, eval)
		case train != nil:
			legend.add(s.Name, train)
		}
	}
	if anyTrain {
		legend.add("thin: training batches", &plotter.Line{LineStyle: draw.LineStyle{Color: color.Gray{128}, Width: vg.Points(0.4)}})
	}
	switch {
	case d.least > d.most: // nothing was drawn
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	case d.least >= minLog && d.most/d.least >= logFrom:
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	}
	widen(&p.X)
	widen(&p.Y)
	return p, &legend, nil
}

// drawing collects lines and the range of their losses.
type drawing struct {
	p           *plot.Plot
	least, most float64
}

// line draws a curve; nil where it has no point.
func (d *drawing) line(name string, points []Point, style draw.LineStyle, width vg.Length, dots bool) (*plotter.Line, error) {
	thinned := thin(points, maxPoints)
	if len(thinned) == 0 {
		return nil, nil
	}
	for _, p := range thinned {
		d.least, d.most = min(d.least, p.Y), max(d.most, p.Y)
	}
	line, err := plotter.NewLine(thinned)
	if err != nil {
		return nil, fmt.Errorf("report: drawing %q: %w", name, err)
	}
	line.LineStyle = style
	line.Width = width
	d.p.Add(line)
	if dots && len(thinned) <= maxDots || len(thinned) == 1 { // a line of one point is invisible
		dot, err := plotter.NewScatter(thinned)
		if err != nil {
			return nil, fmt.Errorf("report: drawing %q: %w", name, err)
		}
		dot.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
		d.p.Add(dot)
	}
	return line, nil
}

// maxDots is how many evaluations are told apart by dots.
const maxDots = 50

// logTicks marks 1, 2 and 5 times the powers of ten.
func logTicks(low, high float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(low)); ; e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v > high {
				return ticks
			}
			if v >= low {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
}

// widen gives an axis a range wide enough for its ticks to be different numbers.
func widen(a *plot.Axis) {
	least := 1e-6 * max(1, math.Abs(a.Min), math.Abs(a.Max))
	if _, log := a.Scale.(plot.LogScale); !log && a.Max-a.Min < least {
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
