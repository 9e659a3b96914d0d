package pipeline

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/train"
)

// pruning is a short pruning of the model of a run folder.
func pruning(from, out string, change func(o *PruneOptions)) PruneOptions {
	o := PruneOptions{Schedule: prune.OneShot, Rows: 8, Healing: Healing{Dir: filepath.Join(from, runs.ModelDir), Out: out, Batch: 8}}
	r := RecipeOf("")
	o.Train, o.Distill = r.Train, r.Distill
	o.Train.Steps, o.Train.LR, o.Train.MuonLR, o.Train.EMA = 0, 0.002, 0.01, 0.5
	o.Options = prune.Options{Kind: prune.Block4x8, Score: prune.OBC, Sparsity: 0.5}
	if change != nil {
		change(&o)
	}
	return o
}

// base trains a model to prune.
func base(t *testing.T) (w *Workload, dir string) {
	t.Helper()
	w = openTask(t, "tictactoe", tiny(t, "tictactoe"))
	dir = filepath.Join(t.TempDir(), "base")
	o := tinyFit(t, w, FitOptions{Dir: dir})
	o.Train.Steps = 20
	fitTiny(t, w, o)
	return w, dir
}

// stopsAt is a Progress that ends a run when it has come to a step.
type stopsAt struct {
	Silent
	step   int
	cancel context.CancelFunc
}

func (s stopsAt) Update(done int, _ string) {
	if done >= s.step {
		s.cancel()
	}
}

func weightsFile(t *testing.T, dir string) string {
	t.Helper()
	hash, err := checkpoint.FileSHA256(filepath.Join(dir, checkpoint.WeightsName))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// Every kind goes from a float model to a student: pruned, recovered, quantised. What masks hide is zero in all of them.
func TestPruneEveryKind(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	for _, kind := range prune.Kinds() {
		for _, steps := range []int{0, 4} {
			out := filepath.Join(t.TempDir(), "out")
			p, err := Prune(t.Context(), b, w, pruning(from, out, func(o *PruneOptions) {
				o.Kind, o.Train.Steps = kind, steps
				if kind == prune.Layers || kind == prune.Width {
					o.Score = prune.Taylor
				}
			}), Silent{})
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			s, err := OpenStart(out)
			if err != nil {
				t.Fatal(err)
			}
			if !s.Config.Equal(p.Config) || len(s.Pruning) != 1 || s.Pruning[0].Kind != kind || s.Pruning[0].Calibration == nil != (p.Record.Calibration == nil) {
				t.Errorf("%s: config.json says %+v, %+v", kind, s.Config, s.Pruning)
			}
			if math.IsNaN(p.Before.PerToken()) || math.IsNaN(p.Cut.PerToken()) || math.IsNaN(p.After.PerToken()) || steps == 0 && p.After != p.Cut {
				t.Errorf("%s: losses %v, %v, %v", kind, p.Before, p.Cut, p.After)
			}
			if steps == 0 != (p.Trained == 0) {
				t.Errorf("%s: %d parameters were trained in %d steps", kind, p.Trained, steps)
			}
			if kind.Masks() {
				if got := s.Masks.Sparsity(); math.Abs(got-0.5) > 0.02 || math.Abs(got-p.Record.Reached) > 1e-9 {
					t.Errorf("%s: a sparsity of %v, said to be %v", kind, got, p.Record.Reached)
				}
				if got := s.Masks.Live(s.Config.Params()); got != p.Live {
					t.Errorf("%s: %d parameters live, said to be %d", kind, got, p.Live)
				}
			} else if got := 1 - float64(s.Config.Params())/float64(paramsOf(t, from)); math.Abs(got-p.Record.Reached) > 1e-9 || got <= 0 {
				t.Errorf("%s: %v of the parameters went, said to be %v", kind, got, p.Record.Reached)
			}
			int8 := filepath.Join(t.TempDir(), "int8")
			q, r, err := Quantize(t.Context(), runs.ResolveModel(out), int8, quant.Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkZeros(t, string(kind), s.Masks, q)
			f, err := checkpoint.Open(int8)
			if err != nil {
				t.Fatal(err)
			}
			records, err := prune.ReadRecords(f.Config)
			if err != nil || len(records) != 1 {
				t.Errorf("%s: the student says %+v, %v", kind, records, err)
			}
			if got := f.Weights.Bytes(); got != int64(quant.StoredBytes(q, r)) || kind == prune.Block4x8 != (got < int64(q.Bytes())) {
				t.Errorf("%s: %d bytes are stored, the weights have %d", kind, got, q.Bytes())
			}
		}
	}
}

func paramsOf(t *testing.T, dir string) int64 {
	t.Helper()
	s, err := OpenStart(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s.Config.Params()
}

func checkZeros(t *testing.T, what string, masks prune.Masks, q *student.Weights) {
	t.Helper()
	_ = q.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			return nil
		}
		for i, v := range masks[name+".weight"] {
			if v == 0 && m.Q[i] != 0 {
				t.Fatalf("%s: %s: element %d was pruned and is %d in the student", what, name, i, m.Q[i])
			}
		}
		return nil
	})
}

// A pruning that is stopped anywhere and resumed ends with the bits of one that was not, whether the mask is there from the
// beginning or grows; another pruning is refused.
func TestPruneResumes(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	for _, c := range []struct {
		name   string
		change func(o *PruneOptions)
	}{
		{"one shot", func(*PruneOptions) {}},
		{"cubic, obc", func(o *PruneOptions) { o.Schedule = prune.Cubic }},
		{"cubic, magnitude, adamw", func(o *PruneOptions) {
			o.Schedule, o.Score, o.Kind, o.Train.Optimizer = prune.Cubic, prune.Magnitude, prune.Unstructured, train.AdamW
		}},
		{"neurons", func(o *PruneOptions) { o.Kind = prune.Neurons }},
	} {
		options := func(out string) PruneOptions {
			return pruning(from, out, func(o *PruneOptions) {
				o.Train.Steps, o.Train.LogEvery = 8, 1
				c.change(o)
			})
		}
		whole, err := Prune(t.Context(), b, w, options(filepath.Join(t.TempDir(), "whole")), Silent{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, step := range []int{1, 3, 6} {
			out := filepath.Join(t.TempDir(), "part")
			o := options(out)
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := Prune(ctx, b, w, o, stopsAt{step: step, cancel: cancel}); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", c.name, err)
			}
			o.Resume = true
			other := o
			other.Sparsity = 0.6
			if _, err := Prune(t.Context(), b, w, other, Silent{}); err == nil || !strings.Contains(err.Error(), "pruned in another way") &&
				!strings.Contains(err.Error(), "with a model") && c.name != "neurons" {
				t.Errorf("%s: another sparsity is resumed: %v", c.name, err)
			}
			again, err := Prune(t.Context(), b, w, o, Silent{})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if weightsFile(t, again.Dir) != weightsFile(t, whole.Dir) {
				t.Errorf("%s: stopped after step %d it ends with other weights", c.name, step)
			}
		}
		s, err := OpenStart(whole.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Masks.Sparsity(); c.name != "neurons" && math.Abs(got-0.5) > 0.02 {
			t.Errorf("%s ends at a sparsity of %v", c.name, got)
		}
	}
}

// Who trains a pruned model further keeps its zeros, and what config.json says of them; pruning it once more adds to them.
func TestPrunedStaysPruned(t *testing.T) {
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
	masks := s.Masks
	f := fitTiny(t, w, tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "more"), Start: s, Config: s.Config}))
	more, err := OpenStart(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := masks.Check(more.weights.Tensors); err != nil || len(more.Pruning) != 1 {
		t.Errorf("trained further: %v, %+v", err, more.Pruning)
	}
	for _, kind := range []prune.Kind{prune.Unstructured, prune.Neurons} {
		twice := filepath.Join(t.TempDir(), "twice")
		_, err = Prune(t.Context(), b, w, pruning(filepath.Dir(f.Dir), twice, func(o *PruneOptions) { o.Kind, o.Sparsity, o.Train.Steps = kind, 0.6, 3 }), Silent{})
		if err != nil {
			t.Fatal(err)
		}
		last, err := OpenStart(twice)
		if err != nil {
			t.Fatal(err)
		}
		if len(last.Pruning) != 2 || last.Masks.Sparsity() < 0.3 {
			t.Errorf("%s, once more: %+v, a sparsity of %v", kind, last.Pruning, last.Masks.Sparsity())
		}
		if kind == prune.Unstructured {
			if err := masks.Check(last.weights.Tensors); err != nil {
				t.Error(err)
			}
		}
	}
}

// What cannot be pruned is refused before anything lies on the disk.
func TestPruneRefuses(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	int8 := filepath.Join(t.TempDir(), "int8")
	if _, _, err := Quantize(t.Context(), filepath.Join(from, runs.ModelDir), int8, quant.Options{}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for says, change := range map[string]func(o *PruneOptions){
		"INT8":                      func(o *PruneOptions) { o.Dir = int8 },
		"sparsity is 1":             func(o *PruneOptions) { o.Sparsity = 1 },
		"pattern of some matrix":    func(o *PruneOptions) { o.Modules = []string{"conv.*"} },
		"calibrate is 0":            func(o *PruneOptions) { o.Rows = 0 },
		"oneshot without steps":     func(o *PruneOptions) { o.Schedule = prune.Cubic },
		"schedule is \"linear\"":    func(o *PruneOptions) { o.Schedule = "linear" },
		"oneshot with kind heads":   func(o *PruneOptions) { o.Schedule, o.Kind, o.Train.Steps = prune.Cubic, prune.Heads, 4 },
		"there is no run to contin": func(o *PruneOptions) { o.Resume = true },
		"holds the float weights":   func(o *PruneOptions) { o.Out = o.Dir },
	} {
		_, err := Prune(t.Context(), b, w, pruning(from, out, change), Silent{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a refusal that says %q", err, says)
		}
	}
	if _, err := Prune(t.Context(), b, openTask(t, "puzzle8", tiny(t, "puzzle8")), pruning(from, out, nil), Silent{}); err == nil || !strings.Contains(err.Error(), "tokenizer") {
		t.Errorf("another task: %v", err)
	}
	// Scores must not look at what the model is judged by.
	leaky := *w
	leaky.examples = map[task.Split][]data.Example{}
	for split, list := range w.examples {
		leaky.examples[split] = list
	}
	leaky.examples[task.Train] = w.examples[task.Test]
	if _, err := Prune(t.Context(), b, &leaky, pruning(from, out, nil), Silent{}); !errors.Is(err, quant.ErrOverlap) {
		t.Errorf("test data for scores: %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something lies at %s (%v)", out, err)
	}
}
