package train

import (
	"errors"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
)

// Gatherable is a Source whose rows are stretches of one text, so that a backend can keep the text and cut them itself. A
// row that begins at place p reads the tokens from p on; its targets are those from p+1 on.
type Gatherable interface {
	Source
	// Tokens is the text [L].
	Tokens() []int32
	// TokenWeights are the weights of the tokens as targets [L]; nil means that all are 1.
	TokenWeights() []float32
	// Starts puts the places where the rows of a step begin into dst.
	Starts(dst []int, step int64) error
}

var _ Gatherable = (*data.Text)(nil)

// gather keeps the tokens of a text on the backend, where its batches are cut out of them.
type gather struct {
	b      backend.Gatherer
	memory backend.Memory
	text   Gatherable
	slab   backend.Slab

	tokens, starts *tensor.Dense         // [L], [rows]
	parts          map[int]*tensor.Dense // of starts, by the first row of a micro-batch
	weights        []float32             // of the tokens, or nil
	shared         bool                  // activations of several sizes lie in the same memory
	places         []int
	host           []int32 // places
	boxed          any     // host
}

// newGather uploads the tokens, and the weights and positions that every batch of a text has. It returns nil where the
// backend cannot cut batches or the source is not a text.
func newGather(b backend.Backend, source Source, batch *data.Batch, micro []microBatch) (_ *gather, err error) {
	cutter, ok := b.(backend.Gatherer)
	text, plain := source.(Gatherable)
	if !ok || !plain {
		return nil, nil
	}
	rows := batch.Rows
	g := &gather{
		b: cutter, memory: b, text: text, weights: text.TokenWeights(), parts: map[int]*tensor.Dense{},
		places: make([]int, rows), host: make([]int32, rows),
	}
	g.boxed = g.host
	g.slab, err = backend.Reserve(b,
		backend.Want{To: &g.tokens, DType: backend.I32, Shape: []int{len(text.Tokens())}},
		backend.Want{To: &g.starts, DType: backend.I32, Shape: []int{rows}},
	)
	if err != nil {
		return nil, err
	}
	same, err := g.agrees(batch)
	if err == nil && same {
		err = g.fill(micro)
	}
	if err != nil || !same {
		return nil, errors.Join(err, g.slab.Free())
	}
	return g, nil
}

// agrees fills the first batch and says whether its rows are what would be cut for them. A source that is built round a text
// and changes its batches, without saying so, is not cut; nor is one whose rows begin with other tokens.
func (g *gather) agrees(b *data.Batch) (bool, error) {
	if err := errors.Join(g.text.Fill(b, 0), g.text.Starts(g.places, 0)); err != nil {
		return false, err
	}
	tokens := g.text.Tokens()
	for i := range b.Inputs {
		at := g.places[i/b.Time] + i%b.Time
		if at+1 >= len(tokens) {
			return false, nil
		}
		weight := float32(1)
		if g.weights != nil {
			weight = g.weights[at+1]
		}
		if b.Inputs[i] != tokens[at] || b.Targets[i] != tokens[at+1] || b.Weights[i] != weight || int(b.Positions[i]) != i%b.Time {
			return false, nil
		}
	}
	return true, nil
}

func (g *gather) fill(micro []microBatch) (err error) {
	if err := g.memory.Upload(g.tokens, g.text.Tokens()); err != nil {
		return err
	}
	g.shared = false
	for i := range micro {
		m := &micro[i]
		g.shared = g.shared || m.a != micro[0].a
		if g.parts[m.Row], err = g.memory.View(g.starts, m.Row, m.Rows); err != nil {
			return err
		}
		if err := backend.First(g.memory.Upload(m.a.Weights, m.weights), g.memory.Upload(m.a.Positions, m.positions)); err != nil {
			return err
		}
	}
	return nil
}

// start uploads where the rows of a step begin, and puts the weights of their targets into the batch.
func (g *gather) start(b *data.Batch, step int64) error {
	if err := g.text.Starts(g.places, step); err != nil {
		return err
	}
	for r, p := range g.places {
		g.host[r] = int32(p)
		if g.weights != nil {
			copy(b.Weights[r*b.Time:][:b.Time], g.weights[p+1:])
		}
	}
	return g.memory.Upload(g.starts, g.boxed)
}

// rows cuts a micro-batch.
func (g *gather) rows(m *microBatch) error {
	if g.weights != nil || g.shared {
		if err := g.memory.Upload(m.a.Weights, m.weights); err != nil {
			return err
		}
	}
	if g.shared {
		if err := g.memory.Upload(m.a.Positions, m.positions); err != nil {
			return err
		}
	}
	return g.b.GatherRows(m.a.Inputs, m.a.Targets, g.tokens, g.parts[m.Row])
}

// close frees the memory; nil is allowed.
func (g *gather) close() error {
	if g == nil {
		return nil
	}
	return g.slab.Free()
}
