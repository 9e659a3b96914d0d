package pipeline

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/train"
)

func rules(t *testing.T, text string) []quant.Rule {
	t.Helper()
	r, err := quant.ParseRules(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// awareFit are the options of a short run whose last steps round.
func awareFit(t *testing.T, w *Workload, out string, change func(o *FitOptions)) FitOptions {
	t.Helper()
	o := tinyFit(t, w, FitOptions{Dir: out})
	o.Train.Steps, o.Train.LogEvery = 10, 1
	o.Aware = &Aware{Share: 0.5, Rules: rules(t, "mlp.*=4,embed=6")}
	change(&o)
	return o
}

// A run whose last steps round ships the student that they computed with: the loss of its last evaluation is the runtime's. Stopped
// before, at or behind the first of these steps it goes on to the same bits; with another rounding it does not go on.
func TestAwareResumes(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	b := openBackend(t)
	for name, change := range map[string]func(o *FitOptions){
		"muon":  func(*FitOptions) {},
		"adamw": func(o *FitOptions) { o.Train.Optimizer, o.Train.EMA, o.Train.MicroBatches = train.AdamW, 0.5, 3 },
	} {
		whole, err := Fit(t.Context(), b, w, awareFit(t, w, filepath.Join(t.TempDir(), "whole"), change), Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if got := runtimeLoss(t, w, whole.Dir, ""); math.Abs(got-whole.Loss.PerToken()) > 1e-6 {
			t.Errorf("%s: the student's loss is %v, the run says %v", name, got, whole.Loss.PerToken())
		}
		f, err := checkpoint.Open(whole.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := f.Quantization(); err != nil || q == nil || len(q.Codes()) == 0 || f.Tokenizer == "" {
			t.Errorf("%s: no student of codes with a tokenizer: %v, %v", name, q, err)
		}
		for _, step := range []int{3, 5, 6, 8} {
			o := awareFit(t, w, filepath.Join(t.TempDir(), "part"), change)
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := Fit(ctx, b, w, o, stopsAt{step: step, cancel: cancel}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			o.Resume = true
			for _, a := range []*Aware{nil, {Share: 0.4, Rules: o.Aware.Rules}, {Share: 0.5, Rules: rules(t, "mlp.*=3,embed=6")}} {
				other := o
				other.Aware = a
				if _, err := Fit(t.Context(), b, w, other, Silent{}); err == nil || !strings.Contains(err.Error(), "--qat and --bits") {
					t.Errorf("%s: another rounding is resumed: %v", name, err)
				}
			}
			again, err := Fit(t.Context(), b, w, o, Silent{})
			if err != nil {
				t.Fatal(err)
			}
			if weightsFile(t, again.Dir) != weightsFile(t, whole.Dir) {
				t.Errorf("%s: stopped after step %d it ends with another student", name, step)
			}
		}
	}
}

// A float model becomes a student by training on what it says itself, and a pruned one stays pruned on the way.
func TestQuantizeAware(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	options := func(dir, out, bits string) AwareOptions {
		o := AwareOptions{Dir: dir, Out: out, Rules: rules(t, bits), Batch: 32, Train: RecipeOf("").Train, Distill: RecipeOf("").Distill}
		o.Train.Steps, o.Train.LR, o.Train.MuonLR, o.Train.Decay = 40, 0.002, 0.01, 1
		return o
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if _, _, err := Quantize(t.Context(), filepath.Join(from, "model"), plain, quant.Options{Bits: rules(t, "ternary")}); err != nil {
		t.Fatal(err)
	}
	made, before, err := QuantizeAware(t.Context(), b, w, options(filepath.Join(from, "model"), filepath.Join(t.TempDir(), "aware"), "ternary"), Silent{})
	if err != nil {
		t.Fatal(err)
	}
	rounded := runtimeLoss(t, w, plain, "")
	if got := made.Loss.PerToken(); got > rounded-0.02 {
		t.Errorf("trained, ternary codes have a loss of %v, rounded %v; the float model has %v", got, rounded, before.PerToken())
	}

	pruned := filepath.Join(t.TempDir(), "pruned")
	if _, err := Prune(t.Context(), b, w, pruning(from, pruned, func(o *PruneOptions) { o.Sparsity = 0.75 }), Silent{}); err != nil {
		t.Fatal(err)
	}
	made, _, err = QuantizeAware(t.Context(), b, w, options(pruned, filepath.Join(t.TempDir(), "both"), "8"), Silent{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStart(pruned)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Load(made.Dir)
	if err != nil {
		t.Fatal(err)
	}
	checkZeros(t, "trained", prune.Masks(s.Masks), q)
	f, err := checkpoint.Open(made.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if z, err := f.Quantization(); err != nil || !z.InBlocks() {
		t.Errorf("the student of a pruned model is stored whole: %v", err)
	}
}
