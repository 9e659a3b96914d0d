package pipeline

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"mito/engine/compress/prune"
	"mito/engine/runs"
	"mito/engine/train"
)

// sparseFit is a short sparse training.
func sparseFit(t *testing.T, w *Workload, dir, method string) FitOptions {
	o := tinyFit(t, w, FitOptions{Dir: dir, Sparse: &prune.Training{Method: method, Sparsity: 0.75}})
	o.Train.Steps, o.Train.EMA = 60, 0.5
	return o
}

// A sparse training ends with the sparsity that was asked for, in whole blocks, says so in config.json, and resumed anywhere it
// reaches bitwise the same weights.
func TestSparseTraining(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	b := openBackend(t)
	for _, method := range prune.Methods() {
		whole := filepath.Join(t.TempDir(), "whole")
		if _, err := Fit(t.Context(), b, w, sparseFit(t, w, whole, method), Silent{}); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStart(whole)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Masks.Sparsity(); math.Abs(got-0.75) > 0.02 {
			t.Errorf("%s: a sparsity of %v", method, got)
		}
		if len(s.Pruning) != 1 || s.Pruning[0].Schedule != method || s.Pruning[0].Kind != prune.Block4x8 {
			t.Errorf("%s: config.json says %+v", method, s.Pruning)
		}
		want := weightsFile(t, runs.ResolveModel(whole))
		for _, stop := range []int{1, 9, 30} {
			dir := filepath.Join(t.TempDir(), "part")
			ctx, cancel := context.WithCancel(t.Context())
			o := sparseFit(t, w, dir, method)
			o.Train.LogEvery = 1
			if _, err := Fit(ctx, b, w, o, stopsAt{step: stop, cancel: cancel}); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: stopped at %d: %v", method, stop, err)
			}
			o = sparseFit(t, w, dir, method)
			o.Resume, o.Train.LogEvery = true, 1
			if _, err := Fit(t.Context(), b, w, o, Silent{}); err != nil {
				t.Fatal(err)
			}
			if weightsFile(t, runs.ResolveModel(dir)) != want {
				t.Errorf("%s: stopped at step %d, the run ends with other weights", method, stop)
			}
			o.Sparse = &prune.Training{Method: method, Sparsity: 0.5}
			if _, err := Fit(t.Context(), b, w, o, Silent{}); err == nil {
				t.Errorf("%s: the run goes on with another sparsity", method)
			}
		}
	}
	var option *train.OptionError
	o := sparseFit(t, w, filepath.Join(t.TempDir(), "out"), prune.GMP)
	o.Sparse.Sparsity = 2
	if _, err := Fit(t.Context(), b, w, o, Silent{}); !errors.As(err, &option) {
		t.Errorf("a sparsity of 2: %v", err)
	}
}

// A model that is pruned already is not trained sparse: what is dead would live again.
func TestSparseTrainingOfPrunedModel(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	out := filepath.Join(t.TempDir(), "pruned")
	if _, err := Prune(t.Context(), b, w, pruning(from, out, nil), Silent{}); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStart(out)
	if err != nil {
		t.Fatal(err)
	}
	o := sparseFit(t, w, filepath.Join(t.TempDir(), "out"), prune.RigL)
	o.Start, o.Config = s, s.Config
	var option *train.OptionError
	if _, err := Fit(t.Context(), b, w, o, Silent{}); !errors.As(err, &option) {
		t.Errorf("got %v", err)
	}
}
