package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// Source gives the batch of every step. It must be a pure function of the step (see package data).
type Source interface {
	// Shape is the rows of a batch and the tokens of a row.
	Shape() (rows, time int)
	// Fill makes b the batch of a step.
	Fill(b *data.Batch, step int64) error
	// Hash identifies content, order and seed.
	Hash() string
}

// Micro places a micro-batch in its batch.
type Micro struct {
	Step  int64   // counted from 0
	Row   int     // first sequence
	Rows  int     // sequences
	Scale float32 // 1 / weight of all targets of the batch
}

// Objective turns logits into losses and their gradient.
type Objective interface {
	// Apply sets a.Loss to weighted losses in nats and a.DLogits to Scale times their gradient.
	Apply(a *model.Activations, m Micro) error
	// Hash identifies what is learnt beside the labels and the run's options, such as a teacher.
	Hash() string
}

// Parted is an Objective whose loss is made of parts that are worth watching.
type Parted interface {
	Objective
	// Parts are the losses that the last Apply on a combined, weighted like a.Loss. They are read before the next one.
	Parts(a *model.Activations) []LossPart
}

// LossPart is one part of a loss.
type LossPart struct {
	Name string        // such as "ce"
	Loss *tensor.Dense // [N] f32, nats
}

// Trainer runs the steps of one run.
type Trainer struct {
	Model  *model.Model
	Origin Origin // set it before Resume

	b         backend.Backend
	o         Options
	source    Source
	objective Objective
	labels    *Labels // the objective where none was given
	opt       *optimizer
	acts      map[int]*model.Activations // by rows
	batch     data.Batch
	host      [][4]any // inputs, targets, weights and positions of each micro-batch, in the batch's memory
	loss      []float32
	recorder  *recorder
	gather    *gather                             // nil where batches come from the host
	current   micro                               // what pass works on
	parts     struct{ pass, finish func() error } // the methods, bound once: binding one is an allocation
	step      int                                 // steps done
	best      Best
	extended  []Extension
	// The evaluation of the last step was stopped before it was done, and a resumed run begins with it.
	unevaluated bool
}

// Best is the best evaluation of a run so far.
type Best struct {
	Step int     `json:"step"` // 0 for none
	Loss float64 `json:"loss"`
}

// New prepares a run. objective nil means the labels alone.
func New(m *model.Model, source Source, objective Objective, o Options) (*Trainer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rows, tokens := source.Shape()
	if err := o.CheckRows(rows); err != nil {
		return nil, err
	}
	t := &Trainer{Model: m, b: m.Backend(), o: o, source: source, objective: objective, acts: map[int]*model.Activations{}}
	if objective == nil {
		labels := NewLabels(t.b, source, o)
		t.objective, t.labels = labels, labels
	}
	var err error
	if t.opt, err = newOptimizer(m, o); err != nil {
		return nil, fmt.Errorf("train: optimiser state: %w", err)
	}
	for i := range o.MicroBatches {
		n := microRow(rows, o.MicroBatches, i+1) - microRow(rows, o.MicroBatches, i)
		if t.acts[n] != nil {
			continue
		}
		a, err := m.NewActivations(n, tokens, true)
		if err != nil {
			t.Close()
			return nil, outOfMemory(err, m, rows, tokens)
		}
		a.Dropout = float32(o.Dropout)
		t.acts[n] = a
	}
	t.loss = make([]float32, rows*tokens)
	if t.gather, err = newGather(t.b, source, o.MicroBatches, t.acts); err != nil {
		t.Close()
		return nil, fmt.Errorf("train: tokens of the text: %w", err)
	}
	t.recorder = newRecorder(t.b)
	t.parts.pass, t.parts.finish = t.pass, t.finish
	return t, nil
}

// Close frees what the run holds beside the model.
func (t *Trainer) Close() error {
	err := errors.Join(t.recorder.close(), t.gather.close(), t.opt.close(), t.labels.Close())
	for _, a := range t.acts {
		err = errors.Join(err, a.Close())
	}
	return err
}

// Steps is the number of steps done.
func (t *Trainer) Steps() int { return t.step }

// Shipping runs f with the model as it ships: with the moving average in place where there is one.
func (t *Trainer) Shipping(f func() error) error { return t.opt.averaged(f) }

// Best is the best evaluation so far.
func (t *Trainer) Best() Best { return t.best }

// microRow is the first row of micro-batch i of m over a batch of rows: sizes differ by one at most.
func microRow(rows, m, i int) int { return rows * i / m }

// StepResult is what a logged step reports.
type StepResult struct {
	Step     int     `json:"step"` // counted from 1
	Loss     float64 `json:"loss"` // of the objective, nats per target
	GradNorm float64 `json:"grad_norm"`
	LR       float64 `json:"lr"`
	Tokens   int64   `json:"tokens"`   // seen so far, padding included
	TokensPS float64 `json:"tokens_s"` // since the last logged step
	Seconds  float64 `json:"seconds"`  // since the run was started or resumed

	Parts map[string]float64 `json:"parts,omitempty"` // of the loss, nats per target, where the objective has them
}

// Step runs one step. With read the loss and the norm of the gradient are read back, which waits for the device.
func (t *Trainer) Step(read bool) (StepResult, error) {
	if err := t.fill(); err != nil {
		return StepResult{}, fmt.Errorf("train: batch of step %d: %w", t.step+1, err)
	}
	weight := t.batch.Weight()
	if !(weight > 0) {
		return StepResult{}, fmt.Errorf("train: the batch of step %d has no target to learn from", t.step+1)
	}
	if err := t.Model.ZeroGrad(); err != nil {
		return StepResult{}, err
	}
	if err := t.opt.prepare(t.step); err != nil {
		return StepResult{}, err
	}
	if t.host == nil {
		t.host = hostSlices(&t.batch, t.o.MicroBatches)
	}
	sum, parts := 0.0, map[string]float64(nil)
	for i := range t.o.MicroBatches {
		m := Micro{
			Step: int64(t.step), Row: microRow(t.batch.Rows, t.o.MicroBatches, i), Scale: float32(1 / weight),
		}
		m.Rows = microRow(t.batch.Rows, t.o.MicroBatches, i+1) - m.Row
		loss, err := t.micro(m, t.host[i], read)
		if err != nil {
			return StepResult{}, fmt.Errorf("train: step %d: %w", t.step+1, err)
		}
		for _, l := range loss {
			sum += float64(l)
		}
		if parts, err = t.addParts(parts, m, read); err != nil {
			return StepResult{}, fmt.Errorf("train: step %d: %w", t.step+1, err)
		}
	}
	err := t.recorder.run(part{name: "finish", scalar: t.opt.averageWeight(t.step)}, t.parts.finish)
	if err != nil {
		return StepResult{}, fmt.Errorf("train: step %d: %w", t.step+1, err)
	}
	rate := t.o.Rate(t.step)
	t.step++
	if !read {
		return StepResult{}, nil
	}
	rows, tokens := t.source.Shape()
	r := StepResult{Step: t.step, Loss: sum / weight, LR: t.o.LR * rate, Tokens: int64(t.step) * int64(rows*tokens), Parts: parts}
	for name := range parts {
		parts[name] /= weight
	}
	if r.GradNorm, err = t.opt.gradNorm(); err != nil {
		return r, err
	}
	return r, t.checkFinite(r)
}

// fill makes the batch of the step: in the host's memory, or its rows' places in the text on the backend.
func (t *Trainer) fill() error {
	if t.gather == nil {
		return t.source.Fill(&t.batch, int64(t.step))
	}
	if t.batch.Rows == 0 { // every batch of a text has the weights of the first
		if err := t.source.Fill(&t.batch, 0); err != nil {
			return err
		}
	}
	return t.gather.start(int64(t.step))
}

// micro runs forward, objective and backward over some rows of the batch and, with read, returns their losses.
func (t *Trainer) micro(m Micro, host [4]any, read bool) ([]float32, error) {
	a := t.acts[m.Rows]
	lo, hi := m.Row*t.batch.Time, (m.Row+m.Rows)*t.batch.Time
	a.Row = int64(lo)
	a.Seed = data.Mix(t.o.Seed, uint64(m.Step))
	var err error
	if t.gather != nil {
		err = t.gather.rows(a, m.Row)
	} else {
		err = errors.Join(
			t.b.Upload(a.Inputs, host[0]), t.b.Upload(a.Targets, host[1]),
			t.b.Upload(a.Weights, host[2]), t.b.Upload(a.Positions, host[3]),
		)
	}
	if err != nil {
		return nil, err
	}
	t.current = micro{a, m}
	if t.o.Dropout > 0 { // the masks of a step are not in a tensor
		err = t.pass()
	} else {
		err = t.recorder.run(part{name: "pass", rows: m.Rows, scalar: m.Scale}, t.parts.pass)
	}
	if err != nil {
		return nil, err
	}
	if !read {
		return nil, nil
	}
	loss := t.loss[:hi-lo]
	return loss, t.b.Download(loss, a.Loss)
}

// addParts adds the parts of a micro-batch's loss to sums, which it makes where there are any.
func (t *Trainer) addParts(sums map[string]float64, m Micro, read bool) (map[string]float64, error) {
	parted, ok := t.objective.(Parted)
	if !ok || !read {
		return sums, nil
	}
	if sums == nil {
		sums = map[string]float64{}
	}
	loss := t.loss[:m.Rows*t.batch.Time] // its sum has been taken
	for _, part := range parted.Parts(t.acts[m.Rows]) {
		if err := t.b.Download(loss, part.Loss); err != nil {
			return nil, err
		}
		for _, l := range loss {
			sums[part.Name] += float64(l)
		}
	}
	return sums, nil
}

// micro is a micro-batch on its way through the model.
type micro struct {
	a *model.Activations
	m Micro
}

// pass runs forward, objective and backward over the current micro-batch.
func (t *Trainer) pass() error {
	if err := t.Model.Forward(t.current.a); err != nil {
		return err
	}
	if err := t.objective.Apply(t.current.a, t.current.m); err != nil {
		return err
	}
	return t.Model.Backward(t.current.a)
}

// finish completes the gradients and updates the parameters.
func (t *Trainer) finish() error { return errors.Join(t.Model.FinishGrad(), t.opt.apply(t.step)) }

// hostSlices cuts a batch into micro-batches once: a source fills the same memory at every step, and a slice in an
// interface is an allocation.
func hostSlices(b *data.Batch, m int) [][4]any {
	host := make([][4]any, m)
	for i := range host {
		part := b.Micro(i, m)
		host[i] = [4]any{part.Inputs, part.Targets, part.Weights, part.Positions}
	}
	return host
}

// DivergedError says that a run produced numbers that are not finite.
type DivergedError struct {
	Step     int
	Tensor   string // first tensor with a value that is not finite
	Loss     float64
	GradNorm float64
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("train: diverged at step %d (loss %g, gradient norm %g): %s holds NaN or Inf; "+
		"start again with a lower learning rate, a longer warm-up or a clip norm; the last checkpoint is from before",
		e.Step, e.Loss, e.GradNorm, e.Tensor)
}

func (t *Trainer) checkFinite(r StepResult) error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if finite(r.Loss) && finite(r.GradNorm) {
		return nil
	}
	e := &DivergedError{Step: r.Step, Loss: r.Loss, GradNorm: r.GradNorm, Tensor: "the loss"}
	for _, flat := range []struct {
		what string
		get  func(i int) ([]float32, error)
	}{
		{"", func(i int) ([]float32, error) { return t.read(t.Model.Params.List[i], false) }},
		{"the gradient of ", func(i int) ([]float32, error) { return t.read(t.Model.Params.List[i], true) }},
	} {
		for i, p := range t.Model.Params.List {
			values, err := flat.get(i)
			if err != nil {
				return errors.Join(e, err)
			}
			for _, v := range values {
				if !finite(float64(v)) {
					e.Tensor = flat.what + p.Name
					return e
				}
			}
		}
	}
	return e
}

func (t *Trainer) read(p *model.Param, grad bool) ([]float32, error) {
	values := make([]float32, p.Size())
	if grad {
		return values, t.b.Download(values, p.Grad)
	}
	return values, t.b.Download(values, p.Value)
}

// Hooks lets the caller watch and save. Each may be nil.
type Hooks struct {
	Step func(StepResult) error // every LogEvery steps
	// Eval evaluates the model as it will ship: with the moving average in place where there is one. It returns
	// the loss that decides which checkpoint is best. It may end with the error of Run's context.
	Eval func(step int) (loss float64, err error)
	// Save stores the model as it will ship; best says that the last evaluation was the best so far.
	Save func(best bool) error
}

// Run trains until the last step, ctx is done, or something fails. When ctx is done it saves and returns ctx's
// error.
func (t *Trainer) Run(ctx context.Context, h Hooks) error {
	start, last, lastTokens := time.Now(), time.Now(), int64(-1)
	if t.unevaluated {
		if err := t.evaluate(ctx, h); err != nil {
			return err
		}
		if err := t.save(h, false); err != nil {
			return err
		}
	}
	for t.step < t.o.Steps {
		if err := ctx.Err(); err != nil {
			return t.stop(h, err)
		}
		due := func(every int) bool { return every > 0 && (t.step+1)%every == 0 || t.step+1 == t.o.Steps }
		log, eval, save := due(t.o.LogEvery) || t.step == 0, due(t.o.EvalEvery), due(t.o.SaveEvery)
		r, err := t.Step(log || eval || save) // what diverged is neither evaluated nor saved
		if err != nil {
			return err
		}
		if log {
			now := time.Now()
			r.Seconds = now.Sub(start).Seconds()
			if lastTokens >= 0 {
				r.TokensPS = float64(r.Tokens-lastTokens) / now.Sub(last).Seconds()
			}
			last, lastTokens = now, r.Tokens
			if h.Step != nil {
				if err := h.Step(r); err != nil {
					return err
				}
			}
		}
		if eval {
			if err := t.evaluate(ctx, h); err != nil {
				return err
			}
		}
		if save {
			if err := t.save(h, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// stop saves a run that cause ends.
func (t *Trainer) stop(h Hooks, cause error) error {
	return errors.Join(t.save(h, false), fmt.Errorf("train: stopped after step %d of %d: %w", t.step, t.o.Steps, cause))
}

// evaluate evaluates the step that was done. When ctx ends that, the run is saved as one whose step has still to be
// evaluated: which checkpoint is the best must not depend on an interruption.
func (t *Trainer) evaluate(ctx context.Context, h Hooks) error {
	t.unevaluated = true
	err := t.eval(h)
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		return t.stop(h, cause)
	}
	t.unevaluated = false
	return err
}

func (t *Trainer) eval(h Hooks) error {
	if h.Eval == nil {
		return nil
	}
	var loss float64
	if err := t.opt.averaged(func() (err error) {
		loss, err = h.Eval(t.step)
		return err
	}); err != nil {
		return err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return t.checkFinite(StepResult{Step: t.step, Loss: loss})
	}
	if t.best.Step != 0 && loss >= t.best.Loss {
		return nil
	}
	t.best = Best{Step: t.step, Loss: loss}
	return t.save(h, true)
}

func (t *Trainer) save(h Hooks, best bool) error {
	if h.Save == nil {
		return nil
	}
	return h.Save(best)
}
