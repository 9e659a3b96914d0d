package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// How the targets that a step learns from are chosen.
const (
	AllTargets = ""         // all of them
	Excess     = "excess"   // those whose loss exceeds a reference's by the most, RHO-1, arXiv:2404.07965
	Gradient   = "gradient" // those whose gradient at the logits, softmax - target, is the longest
)

// Chooser is an Objective that learns from some of the targets.
type Chooser interface {
	Objective
	// Weight is that of the targets of a batch that are chosen, which their losses are divided by.
	Weight(b *data.Batch) (float64, error)
}

// Reference says what another model loses on targets.
type Reference interface {
	// Losses sets dst [N] to nats for the inputs and targets in a. What has no weight may be left out.
	Losses(dst []float32, a *model.Activations) error
	// Hash identifies the reference.
	Hash() string
}

// choice is an Objective on a share of the targets of every row. Choosing within a row makes the choice, and how many are chosen,
// independent of micro-batches.
type choice struct {
	Objective
	b     backend.Backend
	how   string
	share float64
	ref   Reference
	hash  string

	loss, other, weights, chosen []float32
	gradient                     []float32 // [N,V]
	order                        []int
}

// partedChoice is a choice whose objective has parts.
type partedChoice struct {
	*choice
	Parted
}

func (p partedChoice) Hash() string                                     { return p.choice.Hash() }
func (p partedChoice) Prepare(a *model.Activations, m Micro) error      { return p.choice.Prepare(a, m) }
func (p partedChoice) Apply(a *model.Activations, m Micro) error        { return p.choice.Apply(a, m) }
func (p partedChoice) Parts(a *model.Activations) []LossPart            { return p.Parted.Parts(a) }
func (p partedChoice) Weight(b *data.Batch) (weight float64, err error) { return p.choice.Weight(b) }

var _ Chooser = partedChoice{}

// NewChoice has an objective learn from the share of the targets that the options name. ref is the reference of Excess, else nil.
// What is chosen is read by the host, so that passes are not recorded.
func NewChoice(b backend.Backend, objective Objective, ref Reference, o Options) (Chooser, error) {
	c := &choice{Objective: objective, b: b, how: o.LossTokens, share: o.LossShare, ref: ref}
	c.hash = fmt.Sprintf("%s, %s of %g", objective.Hash(), o.LossTokens, o.LossShare)
	switch {
	case o.LossTokens == Excess && ref == nil:
		return nil, errors.New("train: targets chosen by excess loss need a reference")
	case ref != nil:
		c.hash += " over " + ref.Hash()
	}
	if parted, ok := objective.(Parted); ok {
		return partedChoice{c, parted}, nil
	}
	return c, nil
}

// Hash implements Objective.
func (c *choice) Hash() string { return c.hash }

// Weight implements Chooser. Errors: a *OptionError where targets have weights of their own beside 0 and 1.
func (c *choice) Weight(b *data.Batch) (float64, error) {
	sum := 0
	for r := range b.Rows {
		n, err := c.count(b.Weights[r*b.Time:][:b.Time])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum), nil
}

// count is how many targets of a row are chosen.
func (c *choice) count(weights []float32) (int, error) {
	n := 0
	for _, w := range weights {
		if w != 0 && w != 1 {
			return 0, &OptionError{Field: "loss-tokens", Got: c.how, Want: fmt.Sprintf("none: a target has the weight %v, and only 0 and 1 can be chosen from", w)}
		}
		n += int(w)
	}
	return int(math.Ceil(c.share * float64(n))), nil
}

// Apply implements Objective.
func (c *choice) Apply(a *model.Activations, m Micro) error {
	n := a.Batch * a.Time
	for _, s := range []*[]float32{&c.loss, &c.other, &c.weights, &c.chosen} {
		*s = slices.Grow((*s)[:0], n)[:n]
	}
	if err := c.b.Download(c.weights, a.Weights); err != nil {
		return err
	}
	if err := c.score(a); err != nil {
		return err
	}
	for r := range a.Batch {
		if err := c.choose(r*a.Time, a.Time); err != nil {
			return err
		}
	}
	return backend.First(c.b.Upload(a.Weights, c.chosen), c.Objective.Apply(a, m), c.b.Upload(a.Weights, c.weights))
}

// score sets c.loss to what decides.
func (c *choice) score(a *model.Activations) error {
	var gradient *tensor.Dense
	if c.how == Gradient {
		gradient = a.DLogits
	}
	err := c.b.CrossEntropy(a.Loss, gradient, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: 1})
	if err == nil && gradient != nil {
		return c.norms(a)
	}
	if err = backend.First(err, c.b.Download(c.loss, a.Loss)); err != nil {
		return err
	}
	if err := c.ref.Losses(c.other, a); err != nil {
		return err
	}
	for i := range c.loss {
		c.loss[i] -= c.other[i]
	}
	return nil
}

// norms sets c.loss to the squared lengths of the gradients.
func (c *choice) norms(a *model.Activations) error {
	v := a.DLogits.DataSize() / len(c.loss)
	c.gradient = slices.Grow(c.gradient[:0], len(c.loss)*v)[:len(c.loss)*v]
	if err := c.b.Download(c.gradient, a.DLogits); err != nil {
		return err
	}
	for i := range c.loss {
		sum := float32(0)
		for _, g := range c.gradient[i*v:][:v] {
			sum += float32(g * g)
		}
		c.loss[i] = sum
	}
	return nil
}

// choose sets the weights of the row that begins at a token. Of equal targets the earlier one is chosen; NaN comes first, so that
// it is noticed.
func (c *choice) choose(at, time int) error {
	n, err := c.count(c.weights[at:][:time])
	if err != nil {
		return err
	}
	c.order = c.order[:0]
	for i := at; i < at+time; i++ {
		c.chosen[i] = 0
		if c.weights[i] == 1 {
			c.order = append(c.order, i)
		}
	}
	slices.SortStableFunc(c.order, func(i, j int) int {
		x, y := c.loss[i], c.loss[j]
		switch {
		case x != x && y == y:
			return -1
		case y != y && x == x:
			return 1
		}
		return cmp.Compare(y, x)
	})
	for _, i := range c.order[:n] {
		c.chosen[i] = 1
	}
	return nil
}

// ModelReference is a model as a Reference.
type ModelReference struct {
	m    *model.Model
	hash string
	acts map[int]*model.Activations // by rows
}

// NewModelReference makes a reference of a model, which it leaves open, with the hash of its weights.
func NewModelReference(m *model.Model, hash string) *ModelReference {
	return &ModelReference{m: m, hash: hash, acts: map[int]*model.Activations{}}
}

// Hash implements Reference.
func (r *ModelReference) Hash() string { return r.hash }

// Losses implements Reference.
func (r *ModelReference) Losses(dst []float32, a *model.Activations) error {
	own := r.acts[a.Batch]
	if own == nil {
		var err error
		if own, err = r.m.NewActivations(a.Batch, a.Time, false); err != nil {
			return fmt.Errorf("train: reference: %w", err)
		}
		r.acts[a.Batch] = own
	}
	b := r.m.Backend()
	return backend.First(
		b.Copy(own.Inputs, a.Inputs), b.Copy(own.Positions, a.Positions), r.m.Forward(own),
		b.CrossEntropy(own.Loss, nil, own.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}), b.Download(dst, own.Loss),
	)
}

// Close frees the activations.
func (r *ModelReference) Close() (err error) {
	for _, a := range r.acts {
		err = errors.Join(err, a.Close())
	}
	return err
}
