package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/data"
)

func saveTrainer(t *testing.T, tr *Trainer, dir string) *checkpoint.SavedState {
	t.Helper()
	weights, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.Save(dir, &checkpoint.Contents{Config: tr.Model.Config, Tensors: weights, State: state}); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// A run that is saved at any step, killed and resumed from the disk reaches bitwise the weights of one that was not, with
// any number of micro-batches and threads.
func TestResumeIsBitwise(t *testing.T) {
	const total = 9
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for name, c := range map[string]struct {
		source Source
		change func(o *Options)
	}{
		"adamw":         {testSource(t), func(o *Options) {}},
		"muon":          {testSource(t), func(o *Options) { o.Optimizer = Muon }},
		"shared labels": {answers(t), func(o *Options) { o.Labels, o.Smoothing = Shared, 0 }},
	} {
		o := testOptions(total)
		c.change(&o)
		whole := trainerOf(t, 1, testConfig(), c.source, nil, o)
		steps(t, whole, total)
		want := fingerprint(t, whole)
		for _, cut := range []int{1, 2 + random.IntN(total-3), total - 1} {
			part := trainerOf(t, 2, testConfig(), c.source, nil, o)
			steps(t, part, cut)
			part.best = Best{Step: 1, Loss: 0.25}
			saved := saveTrainer(t, part, filepath.Join(t.TempDir(), "last"))
			steps(t, part, 1) // lost by the kill

			o.MicroBatches = 3
			again := trainerOf(t, 2, testConfig(), c.source, nil, o)
			if err := again.Resume(saved); err != nil {
				t.Fatal(err)
			}
			if again.Steps() != cut || again.Best() != (Best{Step: 1, Loss: 0.25}) {
				t.Fatalf("%s: resumed at step %d with best %+v, saved at %d", name, again.Steps(), again.Best(), cut)
			}
			steps(t, again, total-cut)
			if fingerprint(t, again) != want {
				t.Errorf("%s: resumed at step %d (seed %d): other weights than the uninterrupted run", name, cut, seed)
			}
		}
	}
}

// other is an objective that is not the labels alone.
type other struct{ *Labels }

func (other) Hash() string { return "another teacher" }

// What would silently become another run is refused, and the message names what differs.
func TestResumeRefusesAnotherRun(t *testing.T) {
	o := testOptions(5)
	tr := newTrainer(t, 1, o)
	steps(t, tr, 2)
	saved := saveTrainer(t, tr, filepath.Join(t.TempDir(), "last"))
	short, err := data.NewText(testTokens(1999, testVocab), testRows, testTime, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says   string
		change func(c *arch.Config, o *Options, s *Source, ob *Objective)
	}{
		{"lr 0.002, now 0.004", func(_ *arch.Config, o *Options, _ *Source, _ *Objective) { o.LR *= 2 }},
		{"other data", func(_ *arch.Config, _ *Options, s *Source, _ *Objective) { *s = maskedSource{short} }},
		{"other teachers", func(_ *arch.Config, _ *Options, _ *Source, ob *Objective) {
			*ob = other{NewLabels(tr.b, tr.source, o)}
		}},
		// Models of the same tensors.
		{"rope_theta 10000, now 500", func(c *arch.Config, _ *Options, _ *Source, _ *Objective) { c.RoPETheta = 500 }},
		{"sliding_window 0, now 4", func(c *arch.Config, _ *Options, _ *Source, _ *Objective) { c.Window = 4 }},
		{"hidden_act relu2, now gelu", func(c *arch.Config, _ *Options, _ *Source, _ *Objective) { c.Activation = arch.ActGELU }},
	} {
		config, options, source := testConfig(), o, testSource(t)
		var objective Objective
		c.change(&config, &options, &source, &objective)
		again := trainerOf(t, 1, config, source, objective, options)
		before := fingerprint(t, again)
		if err := again.Resume(saved); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want an error that says %q", err, c.says)
		}
		if again.Steps() != 0 || fingerprint(t, again) != before {
			t.Errorf("%s: the refused state was loaded", c.says)
		}
	}
	o.MicroBatches, o.LogEvery, o.EvalEvery, o.SaveEvery = 4, 2, 3, 4
	if err := newTrainer(t, 1, o).Resume(saved); err != nil {
		t.Errorf("how often to look and save, and micro-batches, may change: %v", err)
	}
}

// A run that is stopped in an evaluation is saved, and once resumed it begins with that evaluation: which checkpoint is the
// best does not depend on the interruption.
func TestResumeAfterAStoppedEvaluation(t *testing.T) {
	o := testOptions(6)
	o.EvalEvery = 2
	losses := map[int]float64{2: 3, 4: 1, 6: 2}
	ctx, cancel := context.WithCancel(t.Context())
	part := newTrainer(t, 1, o)
	dir := filepath.Join(t.TempDir(), "last")
	var saved *checkpoint.SavedState
	err := part.Run(ctx, Hooks{
		Eval: func(step int) (float64, error) {
			if step == 4 {
				cancel()
				return 0, ctx.Err()
			}
			return losses[step], nil
		},
		Save: func(best bool) error {
			if !best {
				saved = saveTrainer(t, part, dir)
			}
			return nil
		},
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped after step 4 of 6") || saved == nil {
		t.Fatalf("error %v, saved %v", err, saved)
	}
	again := newTrainer(t, 1, o)
	if err := again.Resume(saved); err != nil {
		t.Fatal(err)
	}
	var evaluated []int
	if err := again.Run(t.Context(), Hooks{Eval: func(step int) (float64, error) {
		evaluated = append(evaluated, step)
		return losses[step], nil
	}}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(evaluated, []int{4, 6}) || again.Best() != (Best{Step: 4, Loss: 1}) {
		t.Errorf("evaluated steps %v, best %+v", evaluated, again.Best())
	}
}

// The message of a batch of another size names the sizes, and not data that would have another hash because of them.
func TestResumeNamesTheBatch(t *testing.T) {
	o := testOptions(5)
	tr := newTrainer(t, 1, o)
	saved := saveTrainer(t, tr, filepath.Join(t.TempDir(), "last"))
	smaller, err := data.NewText(testTokens(2000, testVocab), testRows-1, testTime, 7)
	if err != nil {
		t.Fatal(err)
	}
	err = trainerOf(t, 1, testConfig(), smaller, nil, o).Resume(saved)
	if want := fmt.Sprintf("batches of %d sequences of %d tokens, now %d of %[2]d", testRows, testTime, testRows-1); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that says %q", err, want)
	}
}
