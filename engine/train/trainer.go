package train

import (
	"errors"
	"fmt"

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
	Step int64 // counted from 0
	Row  int   // first sequence
	Rows int   // sequences

	// The gradient of the losses is to be multiplied by Scale and, where Scalars is not nil, by its
	// backend.StepLossScale: 1 over the weight of all targets of the batch.
	Scale   float32
	Scalars *tensor.Dense
}

// Objective turns logits into losses and their gradient.
type Objective interface {
	// Prepare readies what Apply needs for a micro-batch beside its activations: it makes tensors, and uploads what comes
	// from the host. The inputs are there, the logits are not. It runs before every pass.
	Prepare(a *model.Activations, m Micro) error
	// Apply sets a.Loss to weighted losses in nats and a.DLogits to their scaled gradient. It may be recorded once and
	// replayed from then on, so it runs operations of the backend only, on tensors that stay, and whatever changes from
	// step to step is in them.
	Apply(a *model.Activations, m Micro) error
	// Hash identifies what is learnt beside the labels and the run's options, such as a teacher.
	Hash() string
}

// Beginner is an Objective that knows what a frozen prefix of the model computes: its Prepare sets a.Hidden(From()), and the
// layers before are not run.
type Beginner interface {
	Objective
	From() int
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
	// Gradients, where it is not nil, is called in every step between the completion of the gradients and the update. It may
	// change the gradients, on the host too.
	Gradients func() error

	b         backend.Backend
	group     Group // nil where one process runs it
	o         Options
	source    Source
	objective Objective
	labels    *Labels // the objective where none was given
	opt       *optimizer
	acts      map[int]*model.Activations // by rows
	batch     data.Batch
	micro     []microBatch
	loss      []float32            // of a micro-batch
	losses    map[string][]float32 // of a batch, by part, in a group
	sum       sums
	recorder  *recorder
	gather    *gather      // nil where batches come from the host
	finish    func() error // completes the gradients and updates the parameters
	update    func() error // the second half of it
	kept      int          // tokens of a row that the layers in the middle see
	rows      []int32      // which, of a micro-batch
	step      int          // steps done
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
	return NewIn(nil, m, source, objective, o)
}

// NewIn is New for a run that a group computes together; nil for one process. Each rank runs o.MicroBatches micro-batches of a step.
func NewIn(group Group, m *model.Model, source Source, objective Objective, o Options) (*Trainer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rows, tokens := source.Shape()
	if err := o.checkRows(rows, group); err != nil {
		return nil, err
	}
	t := &Trainer{
		group: group, losses: map[string][]float32{},
		Model: m, b: m.Backend(), o: o, source: source, objective: objective, acts: map[int]*model.Activations{},
		loss: make([]float32, rows*tokens), sum: sums{}, recorder: newRecorder(m.Backend()),
	}
	t.kept = o.keptTokens(0, tokens)
	if objective == nil {
		t.labels = NewLabels(t.b, source, o)
		t.objective = t.labels
	}
	if err := o.checkDrop(m, t.from()); err != nil {
		return nil, err
	}
	if err := t.reserve(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.finish = func() error { return backend.First(m.FinishGrad(), t.opt.apply()) }
	t.update = t.opt.apply
	return t, nil
}

// reserve makes what the run holds on the backend.
func (t *Trainer) reserve() (err error) {
	if t.opt, err = newOptimizer(t.Model, t.o, t.group); err != nil {
		return fmt.Errorf("train: optimiser state: %w", err)
	}
	if err := t.cut(); err != nil {
		return err
	}
	if t.gather, err = newGather(t.b, t.source, &t.batch, t.micro); err != nil {
		return fmt.Errorf("train: tokens of the text: %w", err)
	}
	return nil
}

// Close frees what the run holds beside the model.
func (t *Trainer) Close() error {
	return errors.Join(t.recorder.close(), t.gather.close(), t.opt.close(), t.labels.Close(), t.closeActivations())
}

func (t *Trainer) closeActivations() (err error) {
	for _, a := range t.acts {
		err = errors.Join(err, a.Close())
	}
	clear(t.acts)
	return err
}

// Put gives a parameter that is trained values, the moving average too, where there is one.
func (t *Trainer) Put(p *model.Param, values []float32) error {
	err := t.b.Upload(p.Value, values)
	if t.opt.ema == nil || err != nil {
		return err
	}
	average, err := t.b.View(t.opt.ema, p.Offset(), p.Shape...)
	if err != nil {
		return err
	}
	return t.b.Upload(average, values)
}

// Flat is what ships of what is trained, with the layout of the parameters: their moving average where there is one.
func (t *Trainer) Flat() *tensor.Dense {
	if t.opt.ema != nil {
		return t.opt.ema
	}
	return t.Model.Params.Value
}

// ForgetBest begins the search for the best checkpoint anew: what was evaluated so far is not what ships.
func (t *Trainer) ForgetBest() { t.best = Best{} }

// Steps is the number of steps done.
func (t *Trainer) Steps() int { return t.step }

// Shipping runs f with the model as it ships: with the moving average in place where there is one.
func (t *Trainer) Shipping(f func() error) error { return t.opt.averaged(f) }

// Best is the best evaluation so far.
func (t *Trainer) Best() Best { return t.best }
