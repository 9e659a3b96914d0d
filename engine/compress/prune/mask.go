package prune

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"mito/backend"
	"mito/engine/model"
)

// dead is the score of what is pruned already: it goes first.
const dead = -1

// Mask prunes weights by a kind that masks. What prior masks hide stays hidden and counts towards the sparsity; prior may be
// nil. It returns new weights, whose dead elements are zero and whose others have moved with score obc, and the masks of all
// matrices that the options or prior name. Errors: *train.OptionError, ErrNoCalibration, ErrOtherModel, those of ctx and the
// backend.
func Mask(ctx context.Context, b backend.Backend, w *model.Weights, prior Masks, cal *Calibration, o Options) (*model.Weights, Masks, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if !o.Kind.Masks() {
		return nil, nil, refuse("kind", o.Kind, "one that masks")
	}
	found, err := o.Targets(w.Config)
	if err != nil {
		return nil, nil, err
	}
	w = clone(w)
	if err := prior.Apply(w.Tensors); err != nil {
		return nil, nil, err
	}
	masks := maps.Clone(prior)
	if masks == nil {
		masks = Masks{}
	}
	shares, err := o.shares(ctx, b, w, cal)
	if err != nil {
		return nil, nil, err
	}
	if o.Score == OBC {
		err = sparseGPT(ctx, b, w, masks, cal, o, shares)
		return w, masks, err
	}
	s, err := newScorer(ctx, b, w, cal, o.Score)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range found {
		name := m.Weight().Name
		scores := s.tensor(m, name)
		for i, v := range prior[name] {
			if v == 0 {
				scores[i] = dead
			}
		}
		masks[name] = maskOf(o.at(shares[name]), scores, m.Rows, m.Cols)
		hide(masks[name], prior[name])
	}
	return w, masks, masks.Apply(w.Tensors)
}

// hide keeps dead what is dead already, which is more than the options ask for where their sparsity is the lower one.
func hide(mask, prior []float32) {
	for i, v := range prior {
		mask[i] *= v
	}
}

func clone(w *model.Weights) *model.Weights {
	c := &model.Weights{Config: w.Config.Clone(), Tensors: map[string][]float32{}}
	for name, v := range w.Tensors {
		c.Tensors[name] = slices.Clone(v)
	}
	return c
}

// maskOf cuts a matrix [N,K] by the scores of its elements. Wanda compares within rows, as its paper does, the others within
// the matrix.
func maskOf(o Options, scores []float64, rows, cols int) []float32 {
	mask := make([]float32, rows*cols)
	for i := range mask {
		mask[i] = 1
	}
	switch {
	case o.Kind == Block4x8:
		blocks := blocksOf(rows, cols)
		sums := make([]float64, len(blocks))
		for i, at := range blocks {
			sums[i] = total(scores, at)
		}
		for _, i := range least(sums, share(o.Sparsity, len(sums))) {
			clearAt(mask, blocks[i])
		}
	case o.Kind == TwoFour:
		for at := 0; at < len(scores); at += 4 {
			for _, i := range least(scores[at:at+4], 2) {
				mask[at+i] = 0
			}
		}
	case o.Score == Wanda:
		for r := range rows {
			for _, i := range least(scores[r*cols:][:cols], share(o.Sparsity, cols)) {
				mask[r*cols+i] = 0
			}
		}
	default:
		for _, i := range least(scores, share(o.Sparsity, len(scores))) {
			mask[i] = 0
		}
	}
	return mask
}

// share is the number of n that a sparsity stands for.
func share(sparsity float64, n int) int { return int(math.Round(sparsity * float64(n))) }

// least finds the n indices of the smallest scores; of equal ones the first.
func least(scores []float64, n int) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	return order[:n]
}

// Rows and columns of a block, as kernels/sparse has them.
const (
	blockRows = 4
	blockCols = 8
)

// blocksOf lists the elements of each block of a matrix [N,K], in rows of blocks. Those at the edges may be smaller.
func blocksOf(rows, cols int) [][]int {
	var blocks [][]int
	for r := 0; r < rows; r += blockRows {
		for c := 0; c < cols; c += blockCols {
			var at []int
			for i := r; i < min(rows, r+blockRows); i++ {
				for j := c; j < min(cols, c+blockCols); j++ {
					at = append(at, i*cols+j)
				}
			}
			blocks = append(blocks, at)
		}
	}
	return blocks
}

func total(scores []float64, at []int) float64 {
	sum := 0.0
	for _, i := range at {
		sum += scores[i]
	}
	return sum
}

func clearAt(mask []float32, at []int) {
	for _, i := range at {
		mask[i] = 0
	}
}
