package train

import (
	"errors"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// Labels is the objective of plain training: cross-entropy against the labels. Shared labels have the mean gradient
// of all right tokens of a target, without the noise of the draws; the loss that is reported is that of the drawn
// token either way. Labels is also the hard part of a distillation.
type Labels struct {
	b         backend.Backend
	smoothing float32
	source    data.SoftSource // nil with drawn labels, or where every target has one right token
	step      int64           // that soft holds
	soft      data.Soft
	sets      map[int]*softSet // by rows
}

// softSet is what a micro-batch of one size needs on the backend.
type softSet struct {
	slab       backend.Slab
	ids, probs *tensor.Dense // [N,K]
	tail, kl   *tensor.Dense // [N]
}

// NewLabels makes the objective for a source from the options' labels and smoothing.
func NewLabels(b backend.Backend, source Source, o Options) *Labels {
	l := &Labels{b: b, smoothing: float32(o.Smoothing), step: -1, sets: map[int]*softSet{}}
	if soft, ok := source.(data.SoftSource); ok && o.Labels == Shared && soft.Choices() > 1 {
		l.source = soft
	}
	return l
}

// Close frees the memory; nil is allowed.
func (l *Labels) Close() (err error) {
	if l == nil {
		return nil
	}
	for _, s := range l.sets {
		err = errors.Join(err, s.slab.Free())
	}
	return err
}

// Hash implements Objective: the options say all of it.
func (l *Labels) Hash() string { return "labels" }

// Prepare implements Objective.
func (l *Labels) Prepare(a *model.Activations, m Micro) error {
	if l.source == nil {
		return nil
	}
	s, err := l.set(a)
	if err != nil {
		return err
	}
	return l.upload(s, a, m)
}

// Apply implements Objective.
func (l *Labels) Apply(a *model.Activations, m Micro) error {
	if l.source == nil {
		return l.b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights,
			backend.CrossEntropyArgs{Smoothing: l.smoothing, Scale: m.Scale, Step: m.Scalars})
	}
	s := l.sets[a.Batch]
	return backend.First(
		l.b.CrossEntropy(a.Loss, nil, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}),
		l.b.Zero(a.DLogits),
		// At temperature 1 the gradient of the divergence from the shares is that of the cross-entropy.
		l.b.DistillTopK(s.kl, a.DLogits, a.Logits, s.ids, s.probs, s.tail, a.Weights,
			backend.DistillArgs{Temperature: 1, Scale: m.Scale, Step: m.Scalars}),
	)
}

func (l *Labels) upload(s *softSet, a *model.Activations, m Micro) error {
	if l.step != m.Step {
		if err := l.source.FillSoft(&l.soft, m.Step); err != nil {
			return err
		}
		l.step = m.Step
	}
	lo, hi := m.Row*a.Time*l.soft.K, (m.Row+m.Rows)*a.Time*l.soft.K
	return backend.First(l.b.Upload(s.ids, l.soft.IDs[lo:hi]), l.b.Upload(s.probs, l.soft.Probs[lo:hi]))
}

func (l *Labels) set(a *model.Activations) (*softSet, error) {
	if s := l.sets[a.Batch]; s != nil {
		return s, nil
	}
	n, k := a.Batch*a.Time, l.source.Choices()
	s := &softSet{}
	slab, err := backend.Reserve(l.b,
		backend.Want{To: &s.ids, DType: backend.I32, Shape: []int{n, k}},
		backend.Want{To: &s.probs, DType: backend.F32, Shape: []int{n, k}},
		backend.Want{To: &s.tail, DType: backend.F32, Shape: []int{n}},
		backend.Want{To: &s.kl, DType: backend.F32, Shape: []int{n}},
	)
	if err != nil {
		return nil, err
	}
	s.slab, l.sets[a.Batch] = slab, s
	return s, nil
}
