package train

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/model"
)

// deep is a configuration with layers between the first and the last.
func deep() arch.Config {
	c := arch.Edge(testVocab, testTime, 4, 16, 2, 1)
	c.Window = 5
	return c
}

// constant is a reference that loses the same on every target, and varied one that does not.
type constant float32

func (c constant) Hash() string { return fmt.Sprint("constant ", float32(c)) }
func (c constant) Losses(dst []float32, _ *model.Activations) error {
	for i := range dst {
		dst[i] = float32(c)
	}
	return nil
}

// techniques are the runs that choose or drop tokens.
func techniques() map[string]func(o *Options) {
	return map[string]func(o *Options){
		"dropped tokens": func(o *Options) { o.DropTokens, o.DropUntil = 0.6, 0.7 },
		"by gradient":    func(o *Options) { o.LossTokens, o.LossShare = Gradient, 0.4 },
		"by excess":      func(o *Options) { o.LossTokens, o.LossShare = Excess, 0.4 },
		"both":           func(o *Options) { o.LossTokens, o.LossShare, o.DropTokens, o.DropUntil = Gradient, 0.4, 0.6, 0.7 },
	}
}

// choosing builds a trainer of deep whose objective is what the options say.
func choosing(t testing.TB, threads int, source Source, o Options) *Trainer {
	t.Helper()
	b := cpu.New(threads)
	m, err := model.New(b, deep(), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(3, model.DefaultInit()); err != nil {
		t.Fatal(err)
	}
	tr, err := New(m, source, objectiveOf(t, b, source, o), o)
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

func objectiveOf(t testing.TB, b backend.Backend, source Source, o Options) Objective {
	t.Helper()
	if o.LossTokens == AllTargets {
		return nil
	}
	var ref Reference
	if o.LossTokens == Excess {
		ref = constant(1)
	}
	c, err := NewChoice(b, NewLabels(b, source, o), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Micro-batches, ragged ones of targets with and without weight among them, and threads give bitwise the same run.
func TestTokensAccumulate(t *testing.T) {
	for name, change := range techniques() {
		o := testOptions(6)
		change(&o)
		want := ""
		for _, threads := range []int{1, 2} {
			for _, o.MicroBatches = range []int{1, 2, 5, 8} {
				tr := choosing(t, threads, testSource(t), o)
				steps(t, tr, 6)
				got := fingerprint(t, tr)
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%s, %d threads, %d micro-batches: other weights than with one batch on one thread", name, threads, o.MicroBatches)
				}
			}
		}
	}
}

// A run that is saved at any step and resumed reaches the same weights, and one with another choice is refused.
func TestTokensResume(t *testing.T) {
	const total = 8
	for name, change := range techniques() {
		o := testOptions(total)
		change(&o)
		whole := choosing(t, 1, testSource(t), o)
		steps(t, whole, total)
		for cut := 1; cut < total; cut += 3 {
			part := choosing(t, 2, testSource(t), o)
			steps(t, part, cut)
			saved := saveTrainer(t, part, filepath.Join(t.TempDir(), "last"))
			again := choosing(t, 2, testSource(t), o)
			if err := again.Resume(saved); err != nil {
				t.Fatal(err)
			}
			steps(t, again, total-cut)
			if fingerprint(t, again) != fingerprint(t, whole) {
				t.Errorf("%s: resumed at step %d: other weights", name, cut)
			}
			other := o
			other.LossShare, other.DropTokens = o.LossShare/2, o.DropTokens/2
			if err := choosing(t, 1, testSource(t), other).Resume(saved); err == nil {
				t.Errorf("%s: another share was resumed", name)
			}
		}
	}
}

// Where all targets are chosen the run is that of no choice, bit for bit; what is not chosen has no loss and no gradient, and the
// mean is over what is.
func TestChoice(t *testing.T) {
	o := testOptions(3)
	o.Dropout = 0
	plain := choosing(t, 2, testSource(t), o)
	steps(t, plain, 3)
	for _, how := range []string{Gradient, Excess} {
		o.LossTokens, o.LossShare = how, 1
		all := choosing(t, 2, testSource(t), o)
		steps(t, all, 3)
		if fingerprint(t, all) != fingerprint(t, plain) {
			t.Errorf("%s: all targets chosen are another run than none to choose from", how)
		}
		o.LossShare = 0.3
		some := choosing(t, 2, testSource(t), o)
		got := steps(t, some, 1)
		c := some.objective.(*choice)
		if n, want := chosen(c.chosen), 0; n == want {
			t.Fatalf("%s: nothing is chosen", how)
		}
		weight, err := some.objective.(Chooser).Weight(&some.batch)
		if err != nil || weight != float64(chosen(c.chosen)) {
			t.Errorf("%s: %d targets are chosen, the weight is %v, %v", how, chosen(c.chosen), weight, err)
		}
		// The same step on a source that weighs these targets and no others.
		by := choosing(t, 2, weighing{testSource(t), slices.Clone(c.chosen)}, withoutChoice(o))
		want := steps(t, by, 1)
		if got.Loss != want.Loss || got.GradNorm != want.GradNorm {
			t.Errorf("%s: loss %v and norm %v, of the chosen targets alone %v and %v", how, got.Loss, got.GradNorm, want.Loss, want.GradNorm)
		}
		sameMatrices(t, some, by)
	}
}

// sameMatrices compares the matrices of two runs, whose options differ.
func sameMatrices(tt *testing.T, t, other *Trainer) {
	tt.Helper()
	if fingerprintKind(tt, t, model.Matrix) != fingerprintKind(tt, other, model.Matrix) {
		tt.Error("other weights")
	}
}

func withoutChoice(o Options) Options { o.LossTokens, o.LossShare = AllTargets, 0; return o }

func chosen(weights []float32) (n int) {
	for _, w := range weights {
		n += int(w)
	}
	return n
}

// weighing is a source with the weights of one batch.
type weighing struct {
	Source
	weights []float32
}

func (s weighing) Fill(b *data.Batch, step int64) error {
	err := s.Source.Fill(b, step)
	copy(b.Weights, s.weights)
	return err
}

// The targets of largest excess are chosen in every row, of equal ones the earlier, NaN before all.
func TestChoose(t *testing.T) {
	nan := float32(math.NaN())
	c := &choice{how: Excess, share: 0.5}
	c.loss = []float32{3, 1, 2, 1, 0, 5, 5, 5, 1, nan, 7, 0}
	c.weights = []float32{1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1}
	c.chosen = make([]float32, 12)
	for r := range 3 {
		if err := c.choose(r*4, 4); err != nil {
			t.Fatal(err)
		}
	}
	if want := []float32{1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0}; !slices.Equal(c.chosen, want) {
		t.Errorf("chosen %v, want %v", c.chosen, want)
	}
	c.weights[0] = 0.5
	var option *OptionError
	if err := c.choose(0, 4); !errors.As(err, &option) {
		t.Errorf("a weight of a half: %v", err)
	}
	if _, err := NewChoice(nil, NewLabels(nil, testSource(t), testOptions(1)), nil, Options{LossTokens: Excess}); err == nil {
		t.Error("excess over nothing is accepted")
	}
}

// The number of kept tokens grows to all, in few stages, and which ones are kept are ascending, anew each step and row, and
// each as often as another.
func TestKeptTokens(t *testing.T) {
	o := Options{Steps: 100, DropTokens: 0.5, DropUntil: 0.6}
	last, stages := 0, 0
	for step := range 100 {
		n := o.keptTokens(step, 64)
		if n < last || step == 0 && n != 32 || step >= 60 && n != 64 {
			t.Fatalf("step %d: %d tokens after %d", step, n, last)
		}
		if n != last {
			stages++
		}
		last = n
	}
	if stages > 9 {
		t.Errorf("%d stages", stages)
	}
	if n := (Options{Steps: 10, DropTokens: 0.99, DropUntil: 1}).keptTokens(0, 3); n != 1 {
		t.Errorf("%d of 3 tokens are kept", n)
	}

	to := testOptions(400)
	to.DropTokens, to.DropUntil, to.Schedule = 0.5, 1, Constant
	tr := choosing(t, 1, testSource(t), to)
	counts, seen := make([]int, testTime), map[string]bool{}
	for step := range 200 {
		m := &tr.micro[0]
		m.Step = int64(step)
		if err := tr.keep(m); err != nil {
			t.Fatal(err)
		}
		if seen[fmt.Sprint(tr.rows)] {
			t.Error("two steps keep the same tokens")
		}
		seen[fmt.Sprint(tr.rows)] = true
		for _, r := range tr.rows {
			counts[r%testTime]++
		}
	}
	for i, n := range counts { // of 1,600 rows, each half the time; six standard deviations
		if n < 680 || n > 920 {
			t.Errorf("token %d is kept %d times of 1600", i, n)
		}
	}
}

// What was recorded of a stage is not replayed in the next, whose tensors are others.
func TestStagesAreRecordedAnew(t *testing.T) {
	o := testOptions(20)
	o.DropTokens, o.DropUntil, o.Dropout = 0.5, 0.5, 0
	tr := choosing(t, 1, testSource(t), o)
	var fake *fakeCapturer
	tr.recorder, fake = newFake(nil)
	stages, last := 0, 0
	for step := range o.Steps {
		if n := o.keptTokens(step, testTime); n != last {
			stages, last = stages+1, n
		}
		steps(t, tr, 1)
	}
	for i, g := range fake.graphs {
		if i < len(fake.graphs)-2 && g.closes != 1 {
			t.Errorf("recording %d of %d was closed %d times", i, len(fake.graphs), g.closes)
		}
	}
	if stages < 4 || len(tr.acts) != 1 || tr.kept != testTime {
		t.Errorf("%d stages, %d sets of activations, %d tokens in the middle at the end", stages, len(tr.acts), tr.kept)
	}
}

func TestTokensRefused(t *testing.T) {
	for says, change := range map[string]func(*Options){
		"excess or gradient":        func(o *Options) { o.LossTokens, o.LossShare = "loudest", 0.5 },
		"loss-share is 0":           func(o *Options) { o.LossTokens = Gradient },
		"loss-share is 1.5":         func(o *Options) { o.LossTokens, o.LossShare = Gradient, 1.5 },
		"drop-tokens is 1,":         func(o *Options) { o.DropTokens, o.DropUntil = 1, 1 },
		"drop-until is 0":           func(o *Options) { o.DropTokens = 0.5 },
		"0 for a model of 2 layers": func(o *Options) { o.DropTokens, o.DropUntil = 0.5, 1 },
	} {
		o := testOptions(2)
		change(&o)
		b := cpu.New(1)
		m, err := model.New(b, testConfig(), true)
		if err != nil {
			t.Fatal(err)
		}
		var option *OptionError
		if _, err := New(m, testSource(t), nil, o); !errors.As(err, &option) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an *OptionError that says %q", err, says)
		}
		if err := errors.Join(m.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}
