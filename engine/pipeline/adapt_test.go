package pipeline

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/runs"
	"mito/engine/task"
)

// adaptWorld is a tiny base of one text and another text in the same characters.
func adaptWorld(t *testing.T) (*Workload, *Base) {
	t.Helper()
	w := openText(t, strings.Repeat(fox, 60), TextOptions{Context: 16, HeldOut: 0.2})
	trained := RecipeOf("tictactoe").Train
	trained.Steps = 60
	dir := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "base"), Train: trained}).Dir
	base, err := OpenBase(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	other := openText(t, strings.Repeat("dog lazy the over jumps fox brown quick the; ", 60),
		TextOptions{Context: 16, HeldOut: 0.2, Tokenizer: base.Tokenizer})
	return other, base
}

func adaptOptions(dir string) AdaptOptions {
	o := AdaptOptions{
		Name: "adapter", Dir: dir, Train: AdaptTraining(), Rows: 4, Split: task.Train, Judge: task.Test,
		Lora: lora.Config{Rank: 2, Alpha: 4, Targets: lora.DefaultTargets()},
	}
	o.Train.Steps, o.Train.SaveEvery, o.Train.LR = 30, 7, 0.02
	return o
}

func adapt(t *testing.T, w *Workload, base *Base, o AdaptOptions) *Adapted {
	t.Helper()
	a, err := Adapt(t.Context(), openBackend(t), base, w, o, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func fileHash(t *testing.T, parts ...string) string {
	t.Helper()
	h, err := checkpoint.FileSHA256(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// runtimeLoss is the loss of a folder on the held-out part, with an adapter where there is one.
func runtimeLoss(t *testing.T, w *Workload, dir string, adapter string) float64 {
	t.Helper()
	var list []AdapterDir
	if adapter != "" {
		list = []AdapterDir{{"x", adapter}}
	}
	adapters, err := OpenAdapters(dir, list)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := decode.Open(dir, decode.Options{Adapters: adapters})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if adapter != "" {
		if rt, err = decode.WithAdapter(rt, "x"); err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Eval(task.Test, 8)
	if err != nil {
		t.Fatal(err)
	}
	l, err := eval.Loss(t.Context(), rt, e)
	if err != nil {
		t.Fatal(err)
	}
	return l.PerToken()
}

// An adapter learns, leaves its base as it is, and is worth in the runtime what the training says.
func TestAdapt(t *testing.T) {
	w, base := adaptWorld(t)
	before := fileHash(t, base.Dir, checkpoint.WeightsName)
	a := adapt(t, w, base, adaptOptions(filepath.Join(t.TempDir(), "run")))
	if !(a.After.PerToken() < 0.9*a.Before.PerToken()) {
		t.Errorf("loss %v before, %v after", a.Before.PerToken(), a.After.PerToken())
	}
	if fileHash(t, base.Dir, checkpoint.WeightsName) != before {
		t.Error("the base changed")
	}
	if a.Adapter.Base != before || a.Adapter.Params()*10 > base.Floats.Config.Params()*5 {
		t.Errorf("base %s, %d parameters", a.Adapter.Base, a.Adapter.Params())
	}
	if got := runtimeLoss(t, w, base.Dir, a.Dir); math.Abs(got-a.After.PerToken()) > 1e-5 {
		t.Errorf("the runtime's loss is %v, the training's %v", got, a.After.PerToken())
	}
	if got := runtimeLoss(t, w, base.Dir, ""); math.Abs(got-a.Before.PerToken()) > 1e-5 {
		t.Errorf("the base's loss is %v, the training's %v", got, a.Before.PerToken())
	}
	// What is saved to go on from holds the adapter only.
	f, err := checkpoint.Open(filepath.Join(filepath.Dir(a.Dir), runs.LastDir))
	if err != nil {
		t.Fatal(err)
	}
	state, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range slices.Concat(f.Weights.Tensors, state.Tensors.Tensors) {
		if !strings.Contains(x.Name, ".lora_") {
			t.Errorf("the state holds %s", x.Name)
		}
	}
}

// A stopped run that goes on has the bits of one that was not stopped, with dropout, on a float and on an INT8 base; one with
// another alpha or another base is not gone on with.
func TestAdaptResumes(t *testing.T) {
	w, float := adaptWorld(t)
	quantized, err := OpenBase(t.Context(), float.Dir, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]*Base{"float": float, "int8": quantized} {
		o := adaptOptions(filepath.Join(t.TempDir(), "whole"))
		o.Lora.Dropout, o.Train.MicroBatches = 0.2, 2
		want := fileHash(t, adapt(t, w, base, o).Dir, lora.WeightsName)
		plain := adaptOptions(filepath.Join(t.TempDir(), "plain"))
		if fileHash(t, adapt(t, w, base, plain).Dir, lora.WeightsName) == want {
			t.Errorf("%s: dropout changes nothing", name)
		}

		o.Dir = filepath.Join(t.TempDir(), "stopped")
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := Adapt(ctx, openBackend(t), base, w, o, &stopping{at: 13, cancel: cancel}); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", name, err)
		}
		o.Resume = true
		other := o
		other.Lora.Alpha = 5
		if _, err := Adapt(t.Context(), openBackend(t), base, w, other, Silent{}); err == nil {
			t.Errorf("%s: a run with another alpha went on", name)
		}
		if got := fileHash(t, adapt(t, w, base, o).Dir, lora.WeightsName); got != want {
			t.Errorf("%s: resumed %s, whole %s", name, got, want)
		}
	}
}

// stopping ends a run at a step.
type stopping struct {
	Silent
	at     int
	cancel func()
}

func (s *stopping) Update(done int, _ string) {
	if done >= s.at {
		s.cancel()
	}
}

// A prefix that is kept, in memory or on disk, whole or cut short by its budget, gives the adapter that computing it gives, in
// micro-batches too, and rows are found again; on disk a resumed run finds them from the beginning.
func TestKeptPrefix(t *testing.T) {
	w, base := adaptWorld(t)
	last := base.Floats.Config.Layers - 1
	run := func(change func(o *AdaptOptions)) *Adapted {
		o := adaptOptions(filepath.Join(t.TempDir(), "run"))
		o.Lora.Layers, o.Prefix = []int{last}, 1<<20
		change(&o)
		return adapt(t, w, base, o)
	}
	a := run(func(o *AdaptOptions) {})
	want := fileHash(t, a.Dir, lora.WeightsName)
	if s := a.Prefix; s.Found < 30 || s.Computed < 1 || s.Found+s.Computed != 120 || s.Bytes == 0 || s.Bytes > s.Computed*16*4*int64(base.Floats.Config.HiddenSize) {
		t.Errorf("of 120 rows: %+v", s)
	}
	for name, change := range map[string]func(o *AdaptOptions){
		"disk":          func(o *AdaptOptions) { o.PrefixDisk = true },
		"no room":       func(o *AdaptOptions) { o.Prefix = 1 },
		"little room":   func(o *AdaptOptions) { o.Prefix = 5 * 16 * 4 * int64(base.Floats.Config.HiddenSize) },
		"micro-batches": func(o *AdaptOptions) { o.Train.MicroBatches = 3 },
	} {
		b := run(change)
		if got := fileHash(t, b.Dir, lora.WeightsName); got != want {
			t.Errorf("%s: another adapter", name)
		}
		if name == "no room" && b.Prefix.Found != 0 {
			t.Errorf("no room: %+v", b.Prefix)
		}
	}

	o := adaptOptions(filepath.Join(t.TempDir(), "disk"))
	o.Lora.Layers, o.Prefix, o.PrefixDisk = []int{last}, 1<<20, true
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Adapt(ctx, openBackend(t), base, w, o, &stopping{at: 20, cancel: cancel}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// A damaged row is computed again.
	path := filepath.Join(o.Dir, PrefixName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	b := adapt(t, w, base, o)
	if got := fileHash(t, b.Dir, lora.WeightsName); got != want {
		t.Error("a resumed run with rows on disk: another adapter")
	}
	if b.Prefix.Computed >= a.Prefix.Computed || b.Prefix.Found == 0 {
		t.Errorf("a resumed run with rows on disk: %+v, in one go %+v", b.Prefix, a.Prefix)
	}
}

// A merged model computes what the adapter beside its base does; it is not merged into again, and taken out of again only what is
// in it. Merging into INT8 rounds what changed and nothing else. An adapter of another base is refused by its hash.
func TestMerge(t *testing.T) {
	w, base := adaptWorld(t)
	a := adapt(t, w, base, adaptOptions(filepath.Join(t.TempDir(), "run")))
	dir := filepath.Join(t.TempDir(), "merged")
	merge := func(base *Base, dir string, undo bool) error { return Merge(t.Context(), base, a.Dir, dir, undo) }
	if err := merge(base, dir, false); err != nil {
		t.Fatal(err)
	}
	if got, want := runtimeLoss(t, w, dir, ""), runtimeLoss(t, w, base.Dir, a.Dir); math.Abs(got-want) > 1e-5 {
		t.Errorf("merged %v, beside %v", got, want)
	}
	again, err := OpenBase(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var merged *MergedError
	if err := merge(again, dir+"2", false); !errors.As(err, &merged) {
		t.Errorf("merged twice: %v", err)
	}
	if err := merge(base, dir+"2", true); !errors.As(err, &merged) {
		t.Errorf("taken out of what it is not in: %v", err)
	}
	if err := merge(again, dir+"3", true); err != nil {
		t.Fatal(err)
	}
	back, err := OpenBase(t.Context(), dir+"3", false)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range base.Floats.Tensors {
		for i, x := range back.Floats.Tensors[name] {
			if d := math.Abs(float64(x - v[i])); d > 1e-6 {
				t.Fatalf("%s[%d] is off by %v after merging and taking out", name, i, d)
			}
		}
	}
	var foreign *lora.BaseError
	if _, err := OpenAdapters(dir, []AdapterDir{{"x", a.Dir}}); !errors.As(err, &foreign) {
		t.Errorf("an adapter of another base: %v", err)
	}

	student := filepath.Join(t.TempDir(), "int8")
	if _, _, err := Quantize(t.Context(), base.Dir, student, quant.Options{}); err != nil {
		t.Fatal(err)
	}
	int8, err := OpenBase(t.Context(), student, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := merge(int8, dir+"4", false); !errors.As(err, &foreign) {
		t.Errorf("merged into another base: %v", err)
	}
	o := adaptOptions(filepath.Join(t.TempDir(), "run8"))
	o.Lora.Targets = []string{"mlp.*"}
	b := adapt(t, w, int8, o)
	if got := runtimeLoss(t, w, student, b.Dir); math.Abs(got-b.After.PerToken()) > 0.02*got {
		t.Errorf("beside INT8 the runtime's loss is %v, the training's %v", got, b.After.PerToken())
	}
	if err := Merge(t.Context(), int8, b.Dir, dir+"5", false); err != nil {
		t.Fatal(err)
	}
	if got, want := runtimeLoss(t, w, dir+"5", ""), runtimeLoss(t, w, student, b.Dir); math.Abs(got-want) > 0.02*want {
		t.Errorf("merged into INT8 %v, beside it %v", got, want)
	}
	q, err := quant.Load(dir + "5")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q.Layers[0].Query.Q, int8.Int8.Layers[0].Query.Q) || slices.Equal(q.Layers[0].Up.Q, int8.Int8.Layers[0].Up.Q) {
		t.Error("what the adapter leaves alone was rounded again, or what it changes was not")
	}
	eight, err := OpenBase(t.Context(), dir+"5", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Merge(t.Context(), eight, b.Dir, dir+"6", true); !errors.As(err, &merged) {
		t.Errorf("taken out of INT8: %v", err)
	}
}

// A model whose weights were pruned is not merged into where that would fill them again.
func TestMergeIntoPruned(t *testing.T) {
	w, base := adaptWorld(t)
	a := adapt(t, w, base, adaptOptions(filepath.Join(t.TempDir(), "run")))
	const name = "model.layers.0.mlp.up_proj.weight"
	r := prune.Record{Schedule: prune.OneShot}
	r.Kind, r.Modules = prune.Unstructured, []string{"*"}
	base.pruning = prune.Records{r}
	if err := Merge(t.Context(), base, a.Dir, filepath.Join(t.TempDir(), "whole"), false); err != nil {
		t.Errorf("nothing is zero yet: %v", err)
	}
	base.Floats.Tensors[name][3] = 0
	var merged *MergedError
	if err := Merge(t.Context(), base, a.Dir, filepath.Join(t.TempDir(), "merged"), false); !errors.As(err, &merged) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v, want a *MergedError about %s", err, name)
	}
}

// A stem has one base and an adapter for each task, all judged in one runtime; it is resumed like any run.
func TestStem(t *testing.T) {
	s, err := StemOf("stem")
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Tasks {
		s.Tasks[i].Options.Positions, s.Tasks[i].Options.Depth = 1000, min(2, s.Tasks[i].Options.Depth)
	}
	s.Base.Shape, s.Base.Rows, s.Base.Train.Steps, s.Rows, s.Train.Steps = "micro", 32, 20, 32, 60
	o := StemOptions{Stem: s, Out: filepath.Join(t.TempDir(), "cells"), Seed: 1}
	r, err := RunStem(t.Context(), openBackend(t), o, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Adapters) != 3 || r.SwitchMicros >= 1000 || r.TrainedParams == 0 || r.Bytes != 4*r.Params {
		t.Errorf("%+v", r)
	}
	for _, a := range r.Adapters {
		if !(a.LossAfter < a.LossBefore) {
			t.Errorf("%+v", a)
		}
	}
	if _, err := RunStem(t.Context(), openBackend(t), o, Silent{}); err == nil {
		t.Error("a stem was written over")
	}
	o.Resume = true
	again, err := RunStem(t.Context(), openBackend(t), o, Silent{})
	if err != nil || !slices.Equal(again.Adapters, r.Adapters) {
		t.Errorf("resumed: %+v, %v", again, err)
	}
}

// An aligned adapter begins as its base, reads what the gradient asks for and learns more from the same steps; in parts of a batch it
// is the same, and a run that was begun otherwise is not gone on with.
func TestAlignedAdapter(t *testing.T) {
	w, base := adaptWorld(t)
	o := adaptOptions(filepath.Join(t.TempDir(), "drawn"))
	o.Train.Steps, o.Train.LR = 1, 1e-12 // A stays where it began
	drawn := adapt(t, w, base, o)
	o.Dir, o.Start = filepath.Join(t.TempDir(), "aligned"), AdaptStart{Align: 3}
	aligned := adapt(t, w, base, o)
	if aligned.Before != drawn.Before {
		t.Errorf("loss %v before the first step, the base's is %v", aligned.Before, drawn.Before)
	}
	for i, share := range heldShares(t, w, base, o, aligned.Adapter) {
		if name := aligned.Adapter.Pairs[i].Module.Name; share > 1+1e-6 || share < 0.3 {
			t.Errorf("%s: A reads %.3f of the gradient", name, share)
		}
	}
	for i, share := range heldShares(t, w, base, o, drawn.Adapter) {
		if name := drawn.Adapter.Pairs[i].Module.Name; share > 0.3 {
			t.Errorf("%s: a drawn A reads %.3f of the gradient already", name, share)
		}
	}
	parts := o
	parts.Dir, parts.Train.MicroBatches = filepath.Join(t.TempDir(), "parts"), 4
	if got := adapt(t, w, base, parts); fileHash(t, got.Dir, lora.WeightsName) != fileHash(t, aligned.Dir, lora.WeightsName) {
		t.Error("four micro-batches give another adapter")
	}
	for _, start := range []AdaptStart{{}, {Align: 2}, {Align: 3, Gamma: 2}} {
		other := o
		other.Start, other.Resume, other.Train.Steps = start, true, 12
		if _, err := Adapt(t.Context(), openBackend(t), base, w, other, Silent{}); err == nil {
			t.Errorf("a run that began with %+v goes on with %+v", o.Start, start)
		}
	}
	for says, start := range map[string]AdaptStart{"align is -1": {Align: -1}, "gamma is -1": {Gamma: -1}, "gamma is NaN": {Gamma: math.NaN()}} {
		bad := o
		bad.Dir, bad.Start = filepath.Join(t.TempDir(), "bad"), start
		if _, err := Adapt(t.Context(), openBackend(t), base, w, bad, Silent{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", start, err, says)
		}
	}
}

// heldShares are the shares of Σg² of the base's gradients that lie in what the rows of A span, taken as orthogonal, by module.
func heldShares(t *testing.T, w *Workload, base *Base, o AdaptOptions, a *lora.Adapter) (shares []float64) {
	t.Helper()
	var modules []arch.Module
	for _, p := range a.Pairs {
		modules = append(modules, p.Module)
	}
	gradients := gradientsOf(t, w, base, o, modules)
	for i, p := range a.Pairs {
		g := gradients[i]
		all, held := 0.0, 0.0
		for _, v := range g {
			all += v * v
		}
		for r := range a.Rank {
			row, length := p.A[r*p.Module.Cols:][:p.Module.Cols], 0.0
			for _, v := range row {
				length += float64(v) * float64(v)
			}
			for out := range p.Module.Rows {
				dot := 0.0
				for j, v := range row {
					dot += float64(v) * g[out*p.Module.Cols+j]
				}
				held += dot * dot / length
			}
		}
		shares = append(shares, held/all)
	}
	return shares
}
