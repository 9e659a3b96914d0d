package prune

import (
	"context"
	"slices"

	"mito/backend"
	"mito/engine/model"
)

// at is o with the sparsity of one matrix.
func (o Options) at(sparsity float64) Options {
	o.Sparsity = sparsity
	return o
}

// shares gives every matrix that o names its sparsity, by the names of tensors: Sparsity itself, or with Spread what a ranking of
// all their blocks (or weights) together leaves, within Spread of it. Errors: ErrNoCalibration, those of ctx and the backend.
func (o Options) shares(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration) (map[string]float64, error) {
	found, err := o.Targets(w.Config)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, m := range found {
		out[m.Weight().Name] = o.Sparsity
	}
	if o.Spread == 0 {
		return out, nil
	}
	s, err := newScorer(ctx, b, w, cal, Taylor)
	if err != nil {
		return nil, err
	}
	units := map[string][]float64{}
	for _, m := range found {
		name := m.Weight().Name
		scores := s.tensor(m, name)
		if o.Kind == Block4x8 {
			blocks := blocksOf(m.Rows, m.Cols)
			sums := make([]float64, len(blocks))
			for i, at := range blocks {
				sums[i] = total(scores, at) / float64(len(at))
			}
			scores = sums
		}
		units[name] = scores
	}
	return allocate(units, o.Sparsity, max(0, o.Sparsity-o.Spread), min(mostSparse, o.Sparsity+o.Spread)), nil
}

// mostSparse is what no ranking makes a matrix sparser than.
const mostSparse = 0.98

// allocate gives each list of scores a share to remove, from low to high, so that what goes is what has the least scores of all and
// makes up the given share of all.
func allocate(units map[string][]float64, sparsity, low, high float64) map[string]float64 {
	high = max(high, sparsity)
	var all []float64
	sorted := map[string][]float64{}
	for name, scores := range units {
		sorted[name] = slices.Sorted(slices.Values(scores))
		all = append(all, scores...)
	}
	slices.Sort(all)
	out := map[string]float64{}
	removed := func(limit float64) (n float64) {
		for name, scores := range sorted {
			below, _ := slices.BinarySearch(scores, limit)
			out[name] = min(high, max(low, float64(below)/float64(len(scores))))
			n += out[name] * float64(len(scores))
		}
		return n
	}
	// The least limit below which enough lies.
	want := sparsity * float64(len(all))
	lo, hi := 0, len(all)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if removed(all[mid]) < want {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if len(all) > 0 {
		removed(all[lo])
	}
	return out
}
