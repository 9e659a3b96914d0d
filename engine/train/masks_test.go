package train

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mito/backend/cpu"
	"mito/engine/checkpoint"
	"mito/engine/model"
)

const maskedName = "model.layers.1.mlp.up_proj.weight"

// maskedTrainer trains a model of which one matrix, or none, has a mask.
func maskedTrainer(t *testing.T, o Options, names ...string) *Trainer {
	t.Helper()
	b := cpu.New(2)
	var options model.Options
	options.Grads = true
	if len(names) > 0 {
		options.Masked = func(n string) bool {
			for _, name := range names {
				if n == name {
					return true
				}
			}
			return false
		}
	}
	m, err := model.Build(b, testConfig(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(3, model.DefaultInit()); err != nil {
		t.Fatal(err)
	}
	tr, err := New(m, testSource(t), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tr.Close(), m.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// prunes raises the mask of a trainer by a rule of the step, the weights and the mask, and leaves live a weight that is zero.
func prunes(t *testing.T, tr *Trainer) func(step int) error {
	p := tr.Model.Params.Lookup(maskedName)
	return func(step int) error {
		if step%2 == 1 {
			return nil
		}
		mask := make([]float32, p.Size())
		if err := tr.b.Download(mask, p.Mask); err != nil {
			return err
		}
		w := p.Value.Float32s()
		for i := range mask {
			if i%5 == step/2 && w[i] < 0 {
				mask[i] = 0
			}
		}
		w[step] = 0 // it lives, and may grow again
		mask[step] = 1
		return tr.Model.SetMask(p, mask)
	}
}

// A run that prunes as it trains reaches bitwise the same weights when it is stopped anywhere, by either optimiser, and the mask
// holds after every step for the weights and for what ships.
func TestMasksResume(t *testing.T) {
	for _, optimizer := range []string{AdamW, Muon} {
		o := testOptions(7)
		o.Optimizer, o.LR = optimizer, 0.02
		whole := maskedTrainer(t, o, maskedName)
		p := whole.Model.Params.Lookup(maskedName)
		check := func(StepResult) error {
			mask, average := p.Mask.Float32s(), whole.opt.ema.Float32s()[p.Offset():]
			for i, w := range p.Value.Float32s() {
				if mask[i] == 0 && (w != 0 || average[i] != 0) {
					t.Fatalf("%s, step %d: element %d was pruned and is %v, its average %v", optimizer, whole.Steps(), i, w, average[i])
				}
			}
			return nil
		}
		if err := whole.Run(t.Context(), Hooks{Before: prunes(t, whole), Step: check}); err != nil {
			t.Fatal(err)
		}
		want := fingerprint(t, whole)
		for stop := 1; stop < 7; stop++ {
			part := maskedTrainer(t, o, maskedName)
			before := prunes(t, part)
			for part.Steps() < stop {
				if err := before(part.Steps()); err != nil {
					t.Fatal(err)
				}
				steps(t, part, 1)
			}
			saved := saveTrainer(t, part, filepath.Join(t.TempDir(), "last"))
			again := maskedTrainer(t, o, maskedName)
			if err := again.Resume(saved); err != nil {
				t.Fatal(err)
			}
			if err := again.Run(t.Context(), Hooks{Before: prunes(t, again)}); err != nil {
				t.Fatal(err)
			}
			if fingerprint(t, again) != want {
				t.Errorf("%s: stopped after step %d, the run ends with other weights", optimizer, stop)
			}
		}
	}
}

// A state of other masks, of none and of values that no mask has is refused, and changes nothing.
func TestMasksRefused(t *testing.T) {
	o := testOptions(4)
	masked := maskedTrainer(t, o, maskedName)
	steps(t, masked, 1)
	saved := saveTrainer(t, masked, filepath.Join(t.TempDir(), "last"))
	plain := maskedTrainer(t, o)
	steps(t, plain, 1)
	without := saveTrainer(t, plain, filepath.Join(t.TempDir(), "last"))
	for _, c := range []struct {
		says  string
		names []string
		state *checkpoint.SavedState
	}{
		{"this one has none", nil, saved},
		{"has no mask for model.layers.0", []string{strings.Replace(maskedName, "1", "0", 1)}, saved},
		{"has no mask for " + maskedName, []string{maskedName}, without},
	} {
		again := maskedTrainer(t, o, c.names...)
		before := fingerprint(t, again)
		if err := again.Resume(c.state); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want an error that says %q", err, c.says)
		}
		if fingerprint(t, again) != before || again.Steps() != 0 {
			t.Error("the refused state was loaded")
		}
	}
	x, err := saved.Tensors.Tensor(maskPrefix + maskedName)
	if err != nil {
		t.Fatal(err)
	}
	x.Data[3] = 2
	if err := maskedTrainer(t, o, maskedName).Resume(saved); !errors.Is(err, checkpoint.ErrRange) {
		t.Errorf("a mask of 2: %v", err)
	}
	x.Data[3] = 1
	other := maskedTrainer(t, o, maskedName)
	other.Origin.Pruning = "abc"
	if err := other.Resume(saved); err == nil || !strings.Contains(err.Error(), "pruned in another way") {
		t.Errorf("another pruning: %v", err)
	}
}
