package prune

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/model"
)

// lane is the multiple that the neurons of a layer are rounded to where a sparsity says how many stay: kernels work on so many
// rows at once, and fewer cost as much.
const lane = 32

// Structured prunes by a kind that shrinks tensors and returns the smaller model. With a sparsity, heads and neurons are ranked
// over all layers, so that layers may differ afterwards; with a number to keep, and with score obc, every layer keeps as many.
// Every layer keeps one head and one neuron at least. Errors: *train.OptionError, ErrNoCalibration, those of ctx and the
// backend.
func Structured(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration, o Options) (*model.Weights, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Kind.Masks() {
		return nil, refuse("kind", o.Kind, "one that shrinks tensors")
	}
	if err := o.fits(w.Config); err != nil {
		return nil, err
	}
	if o.Score == OBC {
		return removeColumns(ctx, b, w, cal, o)
	}
	s, err := newScorer(ctx, b, w, cal, o.Score)
	if err != nil {
		return nil, err
	}
	plan := Whole(w.Config)
	switch scores := s.units(o.Kind); o.Kind {
	case Heads:
		plan.Groups = o.rank(scores, func(layer int) int { return o.groups(w.Config, layer) }, 1)
	case Neurons:
		plan.Neurons = o.rank(scores, func(int) int { return o.Keep }, lane)
	case Layers:
		plan.Layers = o.best(scores[0])
	case Width:
		plan.Width = o.best(scores[0])
	}
	return plan.Shrink(w)
}

// fits refuses a number to keep that the model cannot have.
func (o Options) fits(c arch.Config) error {
	most, what := 0, ""
	switch o.Kind {
	case Layers:
		most, what = c.Layers, "layers"
	case Width:
		most, what = c.HiddenSize, "channels"
	case Heads, Neurons:
		most, what = c.Heads, "query heads"
		for i := range c.Layers {
			l := c.Layer(i)
			if o.Kind == Neurons {
				most, what = max(most, l.IntermediateSize), "neurons"
			} else if share := l.Heads / l.KVHeads; o.Keep%share != 0 {
				return refuse("keep", o.Keep, "a multiple of %d: so many query heads share a key/value head in layer %d", share, i)
			}
		}
	}
	if o.Keep > most {
		return refuse("keep", o.Keep, "at most the %d %s of the model", most, what)
	}
	return nil
}

// groups is the number of key/value heads that a layer keeps, by the number of query heads to keep.
func (o Options) groups(c arch.Config, layer int) int {
	l := c.Layer(layer)
	return o.Keep / (l.Heads / l.KVHeads)
}

// units adds up the scores of elements to those of units: of heads and neurons by layer, of layers and channels in one list.
func (s *scorer) units(k Kind) [][]float64 {
	c := s.w.Config
	whole := Whole(c)
	one := make([]float64, max(c.Layers, c.HiddenSize))
	out := make([][]float64, c.Layers)
	for i := range out {
		out[i] = make([]float64, max(len(whole.Groups[i]), len(whole.Neurons[i])))
	}
	for _, m := range c.Modules() {
		scores := s.tensor(m, m.Weight().Name)
		var bias []float64
		if m.Bias {
			bias = s.tensor(m, m.BiasTensor().Name)
		}
		switch k {
		case Layers:
			if m.Layer >= 0 {
				one[m.Layer] += sum(scores) + sum(bias)
			}
		case Width:
			width := func(scores []float64, cols int, byColumn bool) {
				for i, v := range scores {
					if byColumn {
						one[i%cols] += v
					} else {
						one[i/cols] += v
					}
				}
			}
			switch {
			case m.Part.Residual():
				width(scores, m.Cols, false)
				width(bias, 1, false)
			case m.Part != arch.QueryNorm && m.Part != arch.KeyNorm && m.Part != arch.PLETable:
				width(scores, m.Cols, true)
				if !m.IsMatrix() {
					width(bias, m.Cols, true)
				}
			}
		default:
			if m.Layer < 0 || !m.IsMatrix() {
				continue
			}
			add(out[m.Layer], k, c, m, scores, bias)
		}
	}
	switch k {
	case Layers:
		return [][]float64{one[:c.Layers]}
	case Width:
		return [][]float64{one[:c.HiddenSize]}
	}
	for i := range out {
		n := len(whole.Neurons[i])
		if k == Heads {
			n = len(whole.Groups[i])
		}
		out[i] = out[i][:n]
		if s.score != Taylor { // errors of the loss compare between layers; those of weights and outputs do not
			scale(out[i])
		}
	}
	return out
}

// add adds the scores of a matrix to the heads or neurons of its layer.
func add(units []float64, k Kind, c arch.Config, m arch.Module, scores, bias []float64) {
	l := c.Layer(m.Layer)
	share := l.Heads / l.KVHeads * c.HeadDim
	each, byColumn := 0, false // channels of a unit, and whether they are the columns
	switch {
	case k == Heads && m.Part == arch.Query:
		each = share
	case k == Heads && (m.Part == arch.Key || m.Part == arch.Value):
		each = c.HeadDim
	case k == Heads && m.Part == arch.Output:
		each, byColumn = share, true
	case k == Neurons && (m.Part == arch.Up || m.Part == arch.Gate):
		each = 1
	case k == Neurons && m.Part == arch.Down:
		each, byColumn = 1, true
	default:
		return
	}
	for i, v := range scores {
		channel := i / m.Cols
		if byColumn {
			channel = i % m.Cols
		}
		units[channel/each] += v
	}
	if !byColumn {
		for i, v := range bias {
			units[i/each] += v
		}
	}
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// scale divides scores by their mean.
func scale(x []float64) {
	mean := sum(x) / float64(len(x))
	if mean == 0 {
		return
	}
	for i := range x {
		x[i] /= mean
	}
}

// best keeps the units of one list that score most.
func (o Options) best(scores []float64) []int {
	keep := o.Keep
	if keep == 0 {
		keep = max(1, len(scores)-share(o.Sparsity, len(scores)))
	}
	return without(len(scores), least(scores, len(scores)-keep))
}

// rank keeps the units that score most: as many of each layer as keep says or, with a sparsity, those that score most over all
// layers, in each a multiple of round where there is more than that.
func (o Options) rank(scores [][]float64, keep func(layer int) int, round int) [][]int {
	counts := make([]int, len(scores))
	for i := range scores {
		counts[i] = len(scores[i])
		if o.Keep != 0 {
			counts[i] = min(counts[i], max(1, keep(i)))
		}
	}
	if o.Keep == 0 {
		o.spreadLosses(scores, counts)
		for i, n := range counts {
			if len(scores[i]) > round {
				counts[i] = min(len(scores[i]), max(round, (n+round/2)/round*round))
			}
		}
	}
	out := make([][]int, len(scores))
	for i, s := range scores {
		out[i] = without(len(s), least(s, len(s)-counts[i]))
	}
	return out
}

// spreadLosses takes the share of all units that score least from the counts of their layers, and leaves each layer one.
func (o Options) spreadLosses(scores [][]float64, counts []int) {
	type unit struct {
		layer int
		score float64
	}
	var all []unit
	for i, s := range scores {
		for _, v := range s {
			all = append(all, unit{i, v})
		}
	}
	slices.SortStableFunc(all, func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	gone := share(o.Sparsity, len(all))
	for _, u := range all {
		if gone > 0 && counts[u.layer] > 1 {
			counts[u.layer]--
			gone--
		}
	}
}

// removeColumns removes heads or neurons by obc: columns of the matrix that reads them, layer by layer, one unit after the other,
// each time the one that leaves the least error; the columns that stay make up for it.
func removeColumns(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration, o Options) (*model.Weights, error) {
	if err := cal.check(OBC); err != nil {
		return nil, err
	}
	w = clone(w)
	plan, index := Whole(w.Config), w.Config.Index()
	for i := range w.Config.Layers {
		l := w.Config.Layer(i)
		part, units, each, keep := arch.Down, l.IntermediateSize, 1, o.Keep
		if o.Kind == Heads {
			part, units, each, keep = arch.Output, l.KVHeads, l.Heads/l.KVHeads*w.Config.HeadDim, o.groups(w.Config, i)
		}
		if o.Keep == 0 {
			keep = units - share(o.Sparsity, units)
			if o.Kind == Neurons && units > lane {
				keep = max(lane, (keep+lane/2)/lane*lane)
			}
		}
		keep = min(units, max(1, keep))
		hessians, err := moments(ctx, b, w, cal, true, func(layer int) bool { return layer == i })
		if err != nil {
			return nil, err
		}
		m := index[arch.Place{Layer: i, Part: part}]
		gone, err := eliminate(ctx, w.Tensors[m.Weight().Name], m.Rows, m.Cols, hessians[place{i, part.Input()}], each, units-keep)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		if left := without(units, gone); o.Kind == Heads {
			plan.Groups[i] = left
		} else {
			plan.Neurons[i] = left
		}
	}
	return plan.Shrink(w)
}
