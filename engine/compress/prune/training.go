package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/train"
)

// Methods of sparse training.
const (
	// GMP makes blocks zero while the model trains, those of the least Σw² first (gradual magnitude pruning, arXiv:1710.01878).
	GMP = "gmp"
	// RigL begins with random blocks. From time to time those of the least Σw² make room for the dead blocks where the gradient has
	// the largest Σg², which begin at zero (arXiv:1911.11134).
	RigL = "rigl"
)

// Methods lists the methods of sparse training.
func Methods() []string { return []string{GMP, RigL} }

// Training says how a model is trained of whose matrices most 4×8 blocks are zero.
type Training struct {
	Method   string   `json:"method"`
	Sparsity float64  `json:"sparsity"` // of every matrix, at the end
	Modules  []string `json:"modules,omitempty"`
}

// The shape of a sparse training, in shares of the steps. Masks stand still while the learning rate falls (train.Defaults).
const (
	rampShare    = 0.3 // that GMP raises the sparsity over
	rampUpdates  = 30  // of the masks in that time
	swapShare    = 0.6 // that RigL moves blocks in
	swapUpdates  = 30  // in that time
	swappedFirst = 0.3 // share of the live blocks that move at first; it falls to 0 along a cosine
)

// Options are those of the pruning that a training amounts to.
func (o Training) Options() Options {
	return Options{Kind: Block4x8, Score: Magnitude, Sparsity: o.Sparsity, Modules: o.Modules}
}

// Validate refuses what no training can be. Errors: *train.OptionError.
func (o Training) Validate() error {
	if !slices.Contains(Methods(), o.Method) {
		return refuse("sparse method", fmt.Sprintf("%q", o.Method), "one of %s", strings.Join(Methods(), ", "))
	}
	if !(o.Sparsity > 0 && o.Sparsity < 1) {
		return refuse("sparse", o.Sparsity, "more than 0 and less than 1: the share of 4x8 blocks that are zero in the end")
	}
	return o.Options().Validate()
}

// Targets lists the matrices that become sparse. Errors: *train.OptionError, also of a matrix that has no whole blocks.
func (o Training) Targets(c arch.Config) ([]arch.Module, error) {
	found, err := o.Options().Targets(c)
	for _, m := range found {
		if m.Rows%blockRows != 0 || m.Cols%blockCols != 0 {
			return nil, refuse("sparse", o.Sparsity, "left out: %s is %dx%d, and 4x8 blocks do not divide it", m.Name, m.Rows, m.Cols)
		}
	}
	return found, err
}

// Before is the hook of a run of so many steps, by train.Hooks. The model was built with masks for the targets. What it does
// follows from the step, the weights, the masks and the gradient of the step's batch, so that a resumed run goes on with it.
func (o Training) Before(ctx context.Context, t *train.Trainer, steps int, seed uint64) func(step int) error {
	if o.Method == GMP {
		span := max(1, int(rampShare*float64(steps)))
		ramp := Ramp{To: o.Sparsity, Steps: span, Updates: min(rampUpdates, span)}
		return func(step int) error {
			sparsity, due := ramp.At(step)
			if !due {
				return nil
			}
			options := o.Options()
			options.Sparsity = sparsity
			return Renew(ctx, t.Model, nil, options)
		}
	}
	every := max(1, int(swapShare*float64(steps))/swapUpdates)
	return func(step int) error {
		end := swapShare * float64(steps)
		switch {
		case step == 0:
			return o.scatter(t.Model, seed)
		case step%every != 0 || float64(step) >= end:
			return nil
		}
		share := swappedFirst / 2 * (1 + math.Cos(math.Pi*float64(step)/end))
		return o.swap(t, share)
	}
}

// masked lists the parameters that become sparse.
func (o Training) masked(m *model.Model) ([]*model.Param, error) {
	found, err := o.Targets(m.Config)
	if err != nil {
		return nil, err
	}
	list := make([]*model.Param, len(found))
	for i, f := range found {
		if list[i] = m.Params.Lookup(f.Weight().Name); list[i] == nil || list[i].Mask == nil {
			return nil, fmt.Errorf("prune: %s was built without a mask", f.Weight().Name)
		}
	}
	return list, nil
}

// scatter lets random blocks live, of every matrix as many.
func (o Training) scatter(m *model.Model, seed uint64) error {
	list, err := o.masked(m)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 0x5ca77e7))
	for _, p := range list {
		blocks := blocksOf(p.Shape[0], p.Shape[1])
		mask := make([]float32, p.Size())
		for i := range mask {
			mask[i] = 1
		}
		for _, i := range r.Perm(len(blocks))[:share(o.Sparsity, len(blocks))] {
			clearAt(mask, blocks[i])
		}
		if err := m.SetMask(p, mask); err != nil {
			return err
		}
	}
	return nil
}

// swap moves a share of the live blocks of every matrix to where the gradient is largest.
func (o Training) swap(t *train.Trainer, part float64) error {
	m := t.Model
	list, err := o.masked(m)
	if err != nil {
		return err
	}
	masks := make([][]float32, len(list))
	err = t.Gradient(func() error {
		for i, p := range list {
			mask, w, g := make([]float32, p.Size()), make([]float32, p.Size()), make([]float32, p.Size())
			b := m.Backend()
			if err := b.Download(mask, p.Mask); err != nil {
				return err
			}
			if err := b.Download(w, p.Value); err != nil {
				return err
			}
			if err := b.Download(g, p.Grad); err != nil {
				return err
			}
			moved(mask, w, g, blocksOf(p.Shape[0], p.Shape[1]), part)
			masks[i] = mask
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, p := range list {
		if err := m.SetMask(p, masks[i]); err != nil {
			return err
		}
	}
	return nil
}

// moved changes a mask: the part of the live blocks with the least Σw² dies, and as many dead ones with the largest Σg² live. Of equal
// ones the first go.
func moved(mask, w, g []float32, blocks [][]int, part float64) {
	square := func(x []float32, at []int) (sum float64) {
		for _, i := range at {
			sum += float64(float64(x[i]) * float64(x[i]))
		}
		return sum
	}
	type scored struct {
		block int
		score float64
	}
	var live, dead []scored
	for i, at := range blocks {
		if mask[at[0]] != 0 {
			live = append(live, scored{i, square(w, at)})
		} else {
			dead = append(dead, scored{i, square(g, at)})
		}
	}
	n := min(share(part, len(live)), len(dead))
	slices.SortStableFunc(live, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	slices.SortStableFunc(dead, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	for i := range n {
		clearAt(mask, blocks[live[i].block])
		for _, e := range blocks[dead[i].block] {
			mask[e] = 1
		}
	}
}
