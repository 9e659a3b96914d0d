package train

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/tokenizer"
)

// testTokens is a stream with something to learn: the next token depends on the one before.
func testTokens(n, vocab int) []int32 {
	tokens, x := make([]int32, n), uint32(1)
	for i := range tokens {
		x = x*1664525 + 1013904223
		prev := int32(0)
		if i > 0 {
			prev = tokens[i-1]
		}
		tokens[i] = (prev*5 + int32(x>>30)) % int32(vocab)
	}
	return tokens
}

// maskedSource hides some targets, more in some rows than in others.
type maskedSource struct{ *data.Text }

func (s maskedSource) Fill(b *data.Batch, step int64) error {
	if err := s.Text.Fill(b, step); err != nil {
		return err
	}
	for i := range b.Weights {
		row := i / b.Time
		if i%b.Time < row*3%b.Time {
			b.Weights[i] = 0
		}
	}
	return nil
}

const testVocab, testTime, testRows = 13, 16, 8

func testSource(t testing.TB) Source {
	t.Helper()
	text, err := data.NewText(testTokens(2000, testVocab), testRows, testTime, 7)
	if err != nil {
		t.Fatal(err)
	}
	return maskedSource{text}
}

func testOptions(steps int) Options {
	o := Defaults()
	o.Optimizer, o.LR, o.Beta2, o.WeightDecay, o.ClipNorm = AdamW, 2e-3, 0.99, 0.1, 1
	o.Schedule, o.Warmup, o.Decay, o.MinLR = Cosine, 3, 0.3, 0.1
	o.Steps, o.LogEvery, o.Dropout, o.EMA, o.Smoothing = steps, 1, 0.1, 0.9, 0.05
	return o
}

// answers is a source of prompts with one to three right answers each, of one token.
func answers(t testing.TB) Source {
	t.Helper()
	tok, err := tokenizer.NewChars("0123456789=xy")
	if err != nil {
		t.Fatal(err)
	}
	var examples []data.Example
	for i := range 40 {
		e := data.Example{Prompt: fmt.Sprint(i, "=")}
		for a := range i%3 + 1 {
			e.Answers = append(e.Answers, fmt.Sprint((i+3*a)%10))
		}
		examples = append(examples, e)
	}
	source, err := data.NewExamples(tok, examples, testRows, 5, data.ExampleOptions{Time: testTime})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func testConfig() arch.Config {
	c := arch.Edge(testVocab, testTime, 2, 32, 4, 2)
	c.QKNorm = true
	return c
}

func newTrainer(t testing.TB, threads int, o Options) *Trainer {
	t.Helper()
	return trainerOf(t, threads, testConfig(), testSource(t), nil, o)
}

func trainerOf(t testing.TB, threads int, c arch.Config, source Source, objective Objective, o Options) *Trainer {
	t.Helper()
	b := cpu.New(threads)
	m, err := model.New(b, c, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(3, model.DefaultInit()); err != nil {
		t.Fatal(err)
	}
	tr, err := New(m, source, objective, o)
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

// fingerprint hashes everything a run would go on from, and the weights as they ship.
func fingerprint(t testing.TB, tr *Trainer) string {
	t.Helper()
	s, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	ships, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for _, x := range append(s.Tensors, ships...) {
		fmt.Fprintln(h, x.Name, x.Shape)
		h.Write(x.Data)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func steps(t testing.TB, tr *Trainer, n int) (last StepResult) {
	t.Helper()
	for range n {
		r, err := tr.Step(true)
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

// Micro-batches of any size, ragged ones among them, and any number of threads give bitwise the same run; so the
// clipping, the dropout and the division by the weight of the targets are those of the whole batch.
func TestAccumulationIsBitwise(t *testing.T) {
	for _, optimizer := range []string{AdamW, Muon} {
		o := testOptions(4)
		o.Optimizer = optimizer
		sameForAnyMicroBatch(t, optimizer, testSource(t), o)
	}
	o := testOptions(4)
	o.Labels, o.Smoothing = Shared, 0
	sameForAnyMicroBatch(t, "shared labels", answers(t), o)
}

func sameForAnyMicroBatch(t *testing.T, name string, source Source, o Options) {
	t.Helper()
	want := ""
	for _, threads := range []int{1, 2, 3} {
		for _, o.MicroBatches = range []int{1, 2, 5, 8} {
			tr := trainerOf(t, threads, testConfig(), source, nil, o)
			steps(t, tr, 4)
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

func TestLossFalls(t *testing.T) {
	for _, optimizer := range []string{AdamW, Muon} {
		o := testOptions(60)
		o.Optimizer, o.Dropout, o.Smoothing, o.LR = optimizer, 0, 0, 0.01
		tr := newTrainer(t, 2, o)
		first := steps(t, tr, 1)
		last := steps(t, tr, 59)
		if first.Loss < 0.9*math.Log(testVocab) || first.Loss > 1.2*math.Log(testVocab) {
			t.Errorf("%s: first loss %.3f, a fresh model guesses: %.3f", optimizer, first.Loss, math.Log(testVocab))
		}
		// Four equally likely successors: the entropy of the stream is ln 4.
		if last.Loss > 1.6 || last.Loss < 1.2 {
			t.Errorf("%s: loss %.3f after 60 steps, the stream's entropy is %.3f", optimizer, last.Loss, math.Log(4))
		}
	}
}

// What a step reports is of that step: its number, its rate, the tokens seen with it, the mean loss over the targets.
func TestStepResult(t *testing.T) {
	o := testOptions(8)
	o.Dropout, o.Smoothing, o.MicroBatches = 0, 0, 3
	o.Schedule, o.Warmup, o.Decay, o.MinLR = WSD, 2, 0.5, 0
	tr := newTrainer(t, 2, o)
	for i := range 8 {
		want := meanLoss(t, tr, int64(i))
		r, err := tr.Step(true)
		if err != nil {
			t.Fatal(err)
		}
		if r.Step != i+1 || r.Tokens != int64((i+1)*testRows*testTime) || r.LR != o.LR*o.Rate(i) {
			t.Errorf("step %d: %+v, want a rate of %g and %d tokens", i+1, r, o.LR*o.Rate(i), (i+1)*testRows*testTime)
		}
		// Each of at most 128 losses is rounded to float32 once.
		if math.Abs(r.Loss-want) > 1e-6*want {
			t.Errorf("step %d: loss %.9f, computed from the logits %.9f", i+1, r.Loss, want)
		}
		if !(r.GradNorm > 0) || r.Parts != nil {
			t.Errorf("step %d: norm %g, parts %v", i+1, r.GradNorm, r.Parts)
		}
	}
}

// meanLoss is the mean over the targets of a step's batch, from the logits in float64.
func meanLoss(t *testing.T, tr *Trainer, step int64) float64 {
	t.Helper()
	var b data.Batch
	if err := tr.source.Fill(&b, step); err != nil {
		t.Fatal(err)
	}
	a, err := tr.Model.NewActivations(b.Rows, b.Time, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := errors.Join(tr.b.Upload(a.Inputs, b.Inputs), tr.b.Upload(a.Positions, b.Positions), tr.Model.Forward(a)); err != nil {
		t.Fatal(err)
	}
	logits := a.Logits.Float32s()
	sum, weight := 0.0, 0.0
	for i, w := range b.Weights {
		z, total := logits[i*testVocab:][:testVocab], 0.0
		for _, v := range z {
			total += math.Exp(float64(v))
		}
		sum += float64(w) * (math.Log(total) - float64(z[b.Targets[i]]))
		weight += float64(w)
	}
	return sum / weight
}

func TestDivergedNamesStepAndTensor(t *testing.T) {
	o := testOptions(5)
	tr := newTrainer(t, 1, o)
	steps(t, tr, 1)
	p := tr.Model.Params.Lookup("model.layers.1.mlp.up_proj.weight")
	p.Value.Float32s()[5] = float32(math.NaN())
	_, err := tr.Step(true)
	var diverged *DivergedError
	if !errors.As(err, &diverged) {
		t.Fatalf("got %v, want a *DivergedError", err)
	}
	if diverged.Step != 2 || diverged.Tensor == "" || diverged.Tensor == "the loss" {
		t.Errorf("step %d, tensor %q", diverged.Step, diverged.Tensor)
	}
}

// A run that diverges between two readings of the loss says so before it evaluates or saves.
func TestDivergedBeforeSaving(t *testing.T) {
	for _, due := range []func(o *Options){func(o *Options) { o.SaveEvery = 3 }, func(o *Options) { o.EvalEvery = 3 }} {
		o := testOptions(50)
		o.LogEvery = 50
		due(&o)
		tr := newTrainer(t, 1, o)
		err := tr.Run(t.Context(), Hooks{
			Step: func(r StepResult) error {
				tr.Model.Params.Value.Float32s()[7] = float32(math.NaN())
				return nil
			},
			Eval: func(step int) (float64, error) { t.Errorf("evaluated at step %d", step); return 1, nil },
			Save: func(bool) error { t.Errorf("saved at step %d", tr.Steps()); return nil },
		})
		var diverged *DivergedError
		if !errors.As(err, &diverged) || diverged.Step != 3 {
			t.Errorf("got %v, want a *DivergedError of step 3", err)
		}
	}
}

func TestRunSavesWhenCancelled(t *testing.T) {
	tr := newTrainer(t, 1, testOptions(50))
	ctx, cancel := context.WithCancel(context.Background())
	saves := 0
	err := tr.Run(ctx, Hooks{
		Step: func(r StepResult) error {
			if r.Step == 3 {
				cancel()
			}
			return nil
		},
		Save: func(bool) error { saves++; return nil },
	})
	if !errors.Is(err, context.Canceled) || saves != 1 || tr.Steps() != 3 {
		t.Errorf("err %v, %d saves, %d steps; want a cancelled run saved once after step 3", err, saves, tr.Steps())
	}
}

func TestRunEvaluatesAveragedWeightsAndKeepsBest(t *testing.T) {
	o := testOptions(8)
	o.EvalEvery, o.SaveEvery = 2, 3
	tr := newTrainer(t, 1, o)
	losses := map[int]float64{2: 3, 4: 2, 6: 2.5, 8: 2} // of equal ones the first is the best
	var bests, saves []int
	err := tr.Run(context.Background(), Hooks{
		Eval: func(step int) (float64, error) {
			if !slices.Equal(tr.Model.Params.Value.Float32s(), tr.opt.ema.Float32s()) {
				t.Errorf("step %d: evaluation does not see the moving average", step)
			}
			return losses[step], nil
		},
		Save: func(best bool) error {
			if best {
				bests = append(bests, tr.Steps())
			} else {
				saves = append(saves, tr.Steps())
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(bests, []int{2, 4}) || !slices.Equal(saves, []int{3, 6, 8}) || tr.Best() != (Best{4, 2}) {
		t.Errorf("best saved after %v, last after %v, best %+v", bests, saves, tr.Best())
	}
	if slices.Equal(tr.Model.Params.Value.Float32s(), tr.opt.ema.Float32s()) {
		t.Error("the raw weights did not come back after the evaluation")
	}
}

func TestVectorsDoNotDecay(t *testing.T) {
	o := testOptions(1)
	o.LR, o.WeightDecay, o.Warmup = 0.5, 0.5, 0
	tr := newTrainer(t, 1, o)
	if err := tr.Model.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	before := fingerprintKind(t, tr, model.Vector)
	matrix := slices.Clone(tr.Model.Params.Lookup("model.layers.0.mlp.up_proj.weight").Value.Float32s())
	if err := errors.Join(tr.opt.prepare(0, 1), tr.opt.apply()); err != nil {
		t.Fatal(err)
	}
	if fingerprintKind(t, tr, model.Vector) != before {
		t.Error("a vector changed without a gradient")
	}
	for i, w := range tr.Model.Params.Lookup("model.layers.0.mlp.up_proj.weight").Value.Float32s() {
		if want := matrix[i] * 0.75; math.Abs(float64(w-want)) > 1e-7 {
			t.Fatalf("matrix element %d is %g, want %g: decay is decoupled, lr·decay = 0.25", i, w, want)
		}
	}
}

func fingerprintKind(t *testing.T, tr *Trainer, kind model.Kind) (s string) {
	t.Helper()
	for _, p := range tr.Model.Params.List {
		if p.Kind == kind {
			s += fmt.Sprint(p.Name, p.Value.Float32s())
		}
	}
	return s
}

func TestStepDoesNotAllocate(t *testing.T) {
	o := testOptions(1000)
	o.MicroBatches = 2
	tr := newTrainer(t, 2, o)
	steps(t, tr, 2)
	if n := testing.AllocsPerRun(5, func() {
		if _, err := tr.Step(false); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
}

func TestRate(t *testing.T) {
	o := Defaults()
	o.Steps, o.Warmup, o.MinLR, o.Decay = 100, 10, 0.1, 0.4
	for _, c := range []struct {
		schedule string
		step     int
		want     float64
	}{
		{Cosine, 0, 0.1}, {Cosine, 9, 1}, {Cosine, 10, 1}, {Cosine, 55, 0.55}, {Cosine, 100, 0.1},
		{WSD, 4, 0.5}, {WSD, 59, 1}, {WSD, 60, 1 - 0.9/40}, {WSD, 99, 0.1},
		{Constant, 99, 1},
	} {
		o.Schedule = c.schedule
		if got := o.Rate(c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s at step %d: %g, want %g", c.schedule, c.step, got, c.want)
		}
	}
}

func TestOptionsRefuse(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"steps":     func(o *Options) { o.Steps = 0 },
		"micro":     func(o *Options) { o.MicroBatches = 0 },
		"optimizer": func(o *Options) { o.Optimizer = "sgd" },
		"lr":        func(o *Options) { o.LR = math.NaN() },
		"schedule":  func(o *Options) { o.Schedule = "linear" },
		"dropout":   func(o *Options) { o.Dropout = 1 },
		"ema":       func(o *Options) { o.EMA = -0.1 },
		"decay":     func(o *Options) { o.WeightDecay = math.Inf(1) },
	} {
		o := Defaults()
		change(&o)
		var bad *OptionError
		if err := o.Validate(); !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want an *OptionError", name, err)
		}
	}
}
