package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
)

// chart is a picture of report.html: numbers that a template writes as SVG, so that its colours are those of the page.
type chart struct {
	Title, About string
	XLabel       string
	YLabel       string
	XTicks       []mark
	YTicks       []mark
	Lines        []stroke
	Dots         []dot
	Keys         []legendEntry
}

// The picture in units of its viewBox, small enough that its letters can be read on a phone.
const (
	chartWidth, chartHeight                 = 480, 320
	chartLeft, chartRight, chartTop, chartY = 60, 14, 12, 46 // margins; chartY is the lower one
)

// mark is a tick of an axis.
type mark struct {
	At    float64
	Label string
}

// stroke is a line through points.
type stroke struct {
	Class  string
	Colour int // of the page's; see colours
	Points string
}

// dot is a measured point.
type dot struct {
	X, Y   float64
	Colour int
	Front  bool
	Label  string // beside it
	Title  string // shown when it is pointed at
}

// legendEntry is an entry of a legend.
type legendEntry struct {
	Colour int
	Label  string
	Name   string
}

// colours is how many the page has; more names use them again.
const colours = 7

// scale maps values to a stretch of a picture.
type scale struct {
	low, high float64 // values
	from, to  float64 // of the picture
	log       bool
}

// newScale makes a scale for some finite values, logarithmic where they are positive and far apart.
func newScale(values []float64, from, to float64) scale {
	s := scale{low: 0, high: 1, from: from, to: to}
	if len(values) == 0 {
		return s
	}
	s.low, s.high = slices.Min(values), slices.Max(values)
	if s.log = s.low >= minLog && s.high/s.low >= logFrom; s.log {
		s.low, s.high = s.low/1.15, s.high*1.15
		return s
	}
	room := max((s.high-s.low)/12, 1e-6*max(1, math.Abs(s.low), math.Abs(s.high)))
	s.low, s.high = s.low-room, s.high+room
	return s
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	return math.Round(10*(s.from+(v-low)/(high-low)*(s.to-s.from))) / 10
}

// ticks are the marks of an axis, few enough that their labels do not touch.
func (s scale) ticks(label func(float64) string) []mark {
	list := plot.DefaultTicks{}.Ticks(s.low, s.high)
	if s.log {
		list = logTicks(s.low, s.high)
	}
	var marks []mark
	for _, t := range list {
		if t.Label != "" && t.Value >= s.low && t.Value <= s.high {
			marks = append(marks, mark{s.at(t.Value), label(t.Value)})
		}
	}
	const most = 7
	every := (len(marks) + most - 1) / most
	return slices.DeleteFunc(marks, func(m mark) bool { return slices.Index(marks, m)%max(1, every) != 0 })
}

// short writes a number with few digits.
func short(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "K"}} {
		if math.Abs(v) >= unit.of {
			return fmt.Sprintf("%.4g%s", v/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%.4g", v)
}

// axes are those of a picture with these values.
func axes(xs, ys []float64) (x, y scale) {
	return newScale(xs, chartLeft, chartWidth-chartRight), newScale(ys, chartHeight-chartY, chartTop)
}

func join(x, y scale, points []Point) string {
	var b strings.Builder
	for i, p := range points {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%g,%g", x.at(p.X), y.at(p.Y))
	}
	return b.String()
}

// lossChart draws loss curves as WriteCurves does.
func lossChart(curves []Series) *chart {
	c := &chart{Title: "Loss over the steps", About: "Dots are evaluations, the same for all models; thin lines are training batches.",
		XLabel: "step", YLabel: "nats a token"}
	var xs, ys []float64
	thinned := make([][2][]Point, len(curves))
	for i, s := range curves {
		for j, points := range [][]Point{s.Train, s.Points} {
			for _, p := range thin(points, maxPoints/2) {
				thinned[i][j] = append(thinned[i][j], Point{p.X, p.Y})
				xs, ys = append(xs, p.X), append(ys, p.Y)
			}
		}
	}
	if len(xs) == 0 {
		return nil
	}
	x, y := axes(xs, ys)
	x = scale{low: min(0, slices.Min(xs)), high: max(slices.Max(xs), 1), from: x.from, to: x.to}
	for i, s := range curves {
		if len(thinned[i][0])+len(thinned[i][1]) == 0 {
			continue
		}
		colour := i % colours
		c.Lines = append(c.Lines, stroke{"thin", colour, join(x, y, thinned[i][0])}, stroke{"line", colour, join(x, y, thinned[i][1])})
		if len(thinned[i][1]) <= maxDots {
			for _, p := range thinned[i][1] {
				c.Dots = append(c.Dots, dot{X: x.at(p.X), Y: y.at(p.Y), Colour: colour, Title: fmt.Sprintf("%s, step %g: %.4f", s.Name, p.X, p.Y)})
			}
		}
		c.Keys = append(c.Keys, legendEntry{Colour: colour, Name: s.Name})
	}
	c.XTicks, c.YTicks = x.ticks(short), y.ticks(short)
	return c
}

// paretoChart draws the loss of the candidates over what they cost, and marks those that none is better than in loss, bytes and
// speed. A line goes through those that none is better than in what is drawn. It is nil for fewer than two candidates.
func (r *Report) paretoChart(title, label string, cost func(*Candidate) Number, less bool) *chart {
	loss, what := r.comparableLoss()
	c := &chart{Title: title, About: "Down is better, and " + map[bool]string{true: "left", false: "right"}[less] +
		". A ring marks candidates that none is better than in loss, bytes and speed together; the line joins those that none is better than in the two that are drawn.",
		XLabel: label, YLabel: what}
	var xs, ys []float64
	var drawn []int
	for i := range r.Candidates {
		if a, b := cost(&r.Candidates[i]), loss(&r.Candidates[i]); a.Measured() && b.Measured() && a > 0 {
			xs, ys, drawn = append(xs, float64(a)), append(ys, float64(b)), append(drawn, i)
		}
	}
	if len(drawn) < 2 {
		return nil
	}
	x, y := axes(xs, ys)
	c.Lines = append(c.Lines, stroke{Class: "front", Points: join(x, y, frontier(xs, ys, less))})
	for n, i := range drawn {
		k := &r.Candidates[i]
		d := dot{X: x.at(xs[n]), Y: y.at(ys[n]), Colour: i % colours, Front: slices.Contains(r.Front, k.Name), Label: fmt.Sprint(i + 1),
			Title: fmt.Sprintf("%s: %s %s, %.4f %s", k.Name, thousands(int64(xs[n]+0.5)), label, ys[n], what)}
		c.Dots = append(c.Dots, d)
		name := k.Name
		if d.Front {
			name += " (on the front)"
		}
		c.Keys = append(c.Keys, legendEntry{d.Colour, d.Label, name})
	}
	c.XTicks, c.YTicks = x.ticks(short), y.ticks(short)
	return c
}

// comparableLoss is what candidates are compared by: bits per byte where all have them, as models with other tokens can be compared by
// those, otherwise nats a token.
func (r *Report) comparableLoss() (func(*Candidate) Number, string) {
	for i := range r.Candidates {
		if !r.Candidates[i].BitsPerByte.Measured() {
			return func(c *Candidate) Number { return c.LossNats }, "nats a token"
		}
	}
	return func(c *Candidate) Number { return c.BitsPerByte }, "bits per byte"
}

// frontier are the points that none is better than, from left to right.
func frontier(xs, ys []float64, less bool) (points []Point) {
	for i := range xs {
		beaten := false
		for j := range xs {
			better := xs[j] <= xs[i]
			if !less {
				better = xs[j] >= xs[i]
			}
			beaten = beaten || better && ys[j] <= ys[i] && (xs[j] != xs[i] || ys[j] != ys[i])
		}
		if p := (Point{xs[i], ys[i]}); !beaten && !slices.Contains(points, p) {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, func(a, b Point) int {
		if a.X < b.X {
			return -1
		}
		return 1
	})
	return points
}
