package prune

import (
	"context"

	"mito/engine/model"
)

// Ramp is a sparsity that grows while a model trains.
type Ramp struct {
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Steps   int     `json:"steps"`   // over which it grows
	Updates int     `json:"updates"` // of the mask
}

// NewRamp makes the ramp of a run: over the first half of its steps, with at most twenty updates.
func NewRamp(from, to float64, steps int) Ramp {
	n := max(1, steps/2)
	return Ramp{From: from, To: to, Steps: n, Updates: min(20, n)}
}

// At says whether the mask is renewed before a step, counted from 0, and at what sparsity:
// s = To + (From-To)·(1 - k/Updates)³ with the k-th update (arXiv:1710.01878). The last one has To.
func (r Ramp) At(step int) (sparsity float64, due bool) {
	for k := 1; k <= r.Updates; k++ {
		if step == (k-1)*r.Steps/r.Updates {
			left := 1 - float64(k)/float64(r.Updates)
			return r.To + (r.From-r.To)*left*left*left, true
		}
	}
	return 0, false
}

// Renew prunes a model that trains to a higher sparsity, by options of a kind that masks. The model was built with masks for
// the matrices that they name. What is dead stays dead; with score obc what lives moves too. Errors: as of Mask.
func Renew(ctx context.Context, m *model.Model, cal *Calibration, o Options) error {
	b := m.Backend()
	w, err := m.Host()
	if err != nil {
		return err
	}
	prior := Masks{}
	for _, p := range m.Params.List {
		if p.Mask == nil {
			continue
		}
		prior[p.Name] = make([]float32, p.Size())
		if err := b.Download(prior[p.Name], p.Mask); err != nil {
			return err
		}
	}
	w, masks, err := Mask(ctx, b, w, prior, cal, o)
	if err != nil {
		return err
	}
	for _, p := range m.Params.List {
		if masks[p.Name] == nil {
			continue
		}
		if o.Score == OBC {
			if err := b.Upload(p.Value, w.Tensors[p.Name]); err != nil {
				return err
			}
		}
		if err := m.SetMask(p, masks[p.Name]); err != nil {
			return err
		}
	}
	return nil
}

// Load gives a model the weights and masks of a pruning. The model was built with those masks, see Masks.Masked. Errors:
// ErrOtherModel, those of the backend.
func Load(m *model.Model, w *model.Weights, masks Masks) error {
	b := m.Backend()
	for _, p := range m.Params.List {
		v := w.Tensors[p.Name]
		if len(v) != p.Size() {
			return otherModel(p.Name, p.Size(), len(v))
		}
		if err := b.Upload(p.Value, v); err != nil {
			return err
		}
		mask := masks[p.Name]
		if mask == nil {
			continue
		}
		if len(mask) != p.Size() {
			return otherModel(p.Name, p.Size(), len(mask))
		}
		if err := m.SetMask(p, mask); err != nil {
			return err
		}
	}
	for name := range masks {
		if m.Params.Lookup(name) == nil {
			return otherModel(name, 0, len(masks[name]))
		}
	}
	return nil
}
