package train

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// microBatch is the part of a batch that goes through the model at once.
type microBatch struct {
	Micro
	a    *model.Activations // shared by the micro-batches of one size
	pass func() error       // bound once: binding a method is an allocation

	piece int // of the batch

	inputs, targets, weights, positions any // its rows of the batch in the host's memory, boxed once
}

// cut makes the micro-batches. Sizes differ by one at most, and activations of both sizes share their memory, so that a run takes
// that of one micro-batch. The batch keeps its memory from step to step.
func (t *Trainer) cut() error {
	rows, tokens := t.source.Shape()
	t.batch.Reset(rows, tokens)
	t.micro = make([]microBatch, t.o.MicroBatches)
	var sizes []int
	for i := range t.micro {
		piece, pieces := t.piece(i), t.pieces()
		m, part := &t.micro[i], t.batch.Micro(piece, pieces)
		m.piece = piece
		m.Micro = Micro{Row: rows * piece / pieces, Rows: part.Rows, Scale: 1, Scalars: t.opt.step}
		m.inputs, m.targets, m.weights, m.positions = part.Inputs, part.Targets, part.Weights, part.Positions
		m.pass = func() error { return t.pass(m) }
		if !slices.Contains(sizes, m.Rows) {
			sizes = append(sizes, m.Rows)
		}
	}
	if err := t.reserveActivations(sizes, tokens); err != nil {
		return outOfMemory(err, t.Model, rows, tokens)
	}
	for i := range t.micro {
		t.micro[i].a = t.acts[t.micro[i].Rows]
	}
	return nil
}

// reserveActivations makes those of micro-batches of some sizes.
func (t *Trainer) reserveActivations(sizes []int, tokens int) error {
	var shapes []model.Batch
	for _, rows := range sizes {
		shapes = append(shapes, model.Batch{Rows: rows, Time: tokens, Training: true, From: t.from(), Middle: t.middle(tokens)})
	}
	// A second head whose gradient an objective leaves out needs memory that nobody else writes to.
	if t.Model.Config.AuxVocab == 0 {
		list, err := t.Model.SharedActivations(shapes...)
		if err != nil {
			return err
		}
		for i, a := range list {
			t.acts[sizes[i]] = a
		}
	} else {
		for i, s := range shapes {
			a, err := t.Model.Activations(s)
			if err != nil {
				return err
			}
			t.acts[sizes[i]] = a
		}
	}
	for _, a := range t.acts {
		a.Dropout, a.Step = float32(t.o.Dropout), t.opt.step
	}
	return nil
}

// from is the layer that passes begin at.
func (t *Trainer) from() int {
	if o, ok := t.objective.(Beginner); ok {
		return o.From()
	}
	return 0
}

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
	r := StepResult{Step: t.step + 1, LR: t.o.LR * t.o.Rate(t.step)}
	failed := func(err error) (StepResult, error) {
		return StepResult{}, fmt.Errorf("train: step %d: %w", r.Step, err)
	}
	var weight float64
	err := t.accumulate(t.replay, func(m *microBatch, w float64) error {
		if weight = w; !read {
			return nil
		}
		return t.readLoss(&r, m, w)
	})
	if err == nil && read && t.group != nil {
		err = t.pool(&r, weight)
	}
	if err != nil {
		return failed(err)
	}
	if err := t.complete(); err != nil {
		return failed(err)
	}
	t.step++
	if !read {
		return StepResult{}, nil
	}
	r.Tokens = int64(t.step) * int64(t.batch.Rows*t.batch.Time)
	if r.GradNorm, err = t.opt.gradNorm(); err != nil {
		return r, err
	}
	return r, t.checkFinite(r)
}

// complete completes the gradients and updates the parameters.
func (t *Trainer) complete() error {
	epoch := t.Model.Epoch()
	if t.Gradients == nil {
		return t.recorder.run(part{name: "finish", epoch: epoch}, t.finish)
	}
	return backend.First(
		t.recorder.run(part{name: "gradients", epoch: epoch}, t.Model.FinishGrad), t.Gradients(),
		t.recorder.run(part{name: "update", epoch: epoch}, t.update),
	)
}

// replay runs the pass over a micro-batch, from its recording where there is one.
func (t *Trainer) replay(m *microBatch) error { return t.recorder.run(t.part(m), m.pass) }

// fill makes the batch of the step, in the host's memory or as its rows' places in the text on the backend, and returns the
// weight of its targets.
func (t *Trainer) fill() (weight float64, err error) {
	if t.gather != nil {
		err = t.gather.start(&t.batch, int64(t.step))
	} else {
		err = t.source.Fill(&t.batch, int64(t.step))
	}
	if err != nil {
		return 0, fmt.Errorf("the batch: %w", err)
	}
	if c, ok := t.objective.(Chooser); ok {
		weight, err = c.Weight(&t.batch)
	} else {
		weight = t.batch.Weight()
	}
	if err != nil {
		return 0, err
	}
	if !(weight > 0) {
		return 0, fmt.Errorf("the batch has no target to learn from")
	}
	return weight, nil
}

// load brings the rows of a micro-batch to the backend.
func (t *Trainer) load(m *microBatch) error {
	m.a.Row = int64(m.Row * t.batch.Time)
	if err := t.keep(m); err != nil {
		return err
	}
	if t.gather != nil {
		return t.gather.rows(m)
	}
	return backend.First(
		t.b.Upload(m.a.Inputs, m.inputs), t.b.Upload(m.a.Targets, m.targets),
		t.b.Upload(m.a.Weights, m.weights), t.b.Upload(m.a.Positions, m.positions),
	)
}

// part is what a recording of the pass over a micro-batch stands for. Micro-batches of one size share their recording, but
// for the masks of dropout, which depend on the row.
func (t *Trainer) part(m *microBatch) part {
	p := part{name: "pass", rows: m.Rows, epoch: t.Model.Epoch()}
	if m.a.Masked() {
		p.row = m.Row
	}
	return p
}

// pass runs forward, objective and backward over a micro-batch.
func (t *Trainer) pass(m *microBatch) error {
	return backend.First(t.Model.Forward(m.a), t.objective.Apply(m.a, m.Micro), t.Model.Backward(m.a))
}

// readLoss adds the loss of a micro-batch, and its parts where the objective has them, as shares of the step's.
func (t *Trainer) readLoss(r *StepResult, m *microBatch, weight float64) error {
	loss := t.loss[:m.Rows*t.batch.Time]
	read := func(name string, from *tensor.Dense) error {
		if err := t.b.Download(loss, from); err != nil {
			return err
		}
		if t.group != nil { // the ranks' parts are added up together
			t.keepLoss(name, m, loss)
			return nil
		}
		mean := 0.0
		t.sum.add(&mean, name, loss, m.Row == 0, weight)
		r.set(name, mean)
		return nil
	}
	if err := read("", m.a.Loss); err != nil {
		return err
	}
	parted, ok := t.objective.(Parted)
	if !ok {
		return nil
	}
	for _, part := range parted.Parts(m.a) {
		if err := read(part.Name, part.Loss); err != nil {
			return err
		}
	}
	return nil
}

// set sets the loss, or a part of it that has a name.
func (r *StepResult) set(name string, mean float64) {
	if name == "" {
		r.Loss = mean
		return
	}
	if r.Parts == nil {
		r.Parts = map[string]float64{}
	}
	r.Parts[name] = mean
}

// sums adds up losses over the micro-batches of a step, token by token, so that a mean does not depend on how the batch is
// cut.
type sums map[string]float64

// add adds the losses of a micro-batch, after none with first, and sets mean to the sum over the weight of the batch.
func (s sums) add(mean *float64, name string, loss []float32, first bool, weight float64) {
	sum := s[name]
	if first {
		sum = 0
	}
	for _, l := range loss {
		sum += float64(l)
	}
	s[name] = sum
	*mean = sum / weight
}

// runSeed is the seed of a step's dropout masks.
func (o *Options) runSeed(step int) uint64 { return data.Mix(o.Seed, uint64(step)) }
