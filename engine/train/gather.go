package train

import (
	"errors"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// gather keeps the tokens of a text on the backend, where its batches are cut out of them.
type gather struct {
	b      backend.Gatherer
	memory backend.Memory
	text   *data.Text
	slab   backend.Slab

	tokens, starts *tensor.Dense         // [L], [rows]
	parts          map[int]*tensor.Dense // of starts, by the first row of a micro-batch
	places         []int
	host           []int32 // places
	boxed          any     // host
}

// newGather uploads the tokens, and to each set of activations the weights and positions that every batch of a text has.
// It returns nil where the backend cannot cut batches or the source is not a plain text.
func newGather(b backend.Backend, source Source, micro int, acts map[int]*model.Activations) (_ *gather, err error) {
	cutter, ok := b.(backend.Gatherer)
	text, plain := source.(*data.Text)
	if !ok || !plain {
		return nil, nil
	}
	rows, time := text.Shape()
	g := &gather{b: cutter, memory: b, text: text, parts: map[int]*tensor.Dense{}, places: make([]int, rows), host: make([]int32, rows)}
	g.boxed = g.host
	g.slab, err = backend.Reserve(b,
		backend.Want{To: &g.tokens, DType: backend.I32, Shape: []int{len(text.Tokens())}},
		backend.Want{To: &g.starts, DType: backend.I32, Shape: []int{rows}},
	)
	if err != nil {
		return nil, err
	}
	if err := g.fill(time, micro, acts); err != nil {
		return nil, errors.Join(err, g.slab.Free())
	}
	return g, nil
}

func (g *gather) fill(time, micro int, acts map[int]*model.Activations) (err error) {
	if err := g.memory.Upload(g.tokens, g.text.Tokens()); err != nil {
		return err
	}
	for i := range micro {
		lo, hi := microRow(len(g.host), micro, i), microRow(len(g.host), micro, i+1)
		if g.parts[lo], err = g.memory.View(g.starts, lo, hi-lo); err != nil {
			return err
		}
	}
	for rows, a := range acts {
		weights, positions := make([]float32, rows*time), make([]int32, rows*time)
		for i := range weights {
			weights[i], positions[i] = 1, int32(i%time)
		}
		if err := errors.Join(g.memory.Upload(a.Weights, weights), g.memory.Upload(a.Positions, positions)); err != nil {
			return err
		}
	}
	return nil
}

// start uploads where the rows of a step begin.
func (g *gather) start(step int64) error {
	if err := g.text.Starts(g.places, step); err != nil {
		return err
	}
	for i, p := range g.places {
		g.host[i] = int32(p)
	}
	return g.memory.Upload(g.starts, g.boxed)
}

// rows cuts the micro-batch that begins with a row of the batch.
func (g *gather) rows(a *model.Activations, row int) error {
	return g.b.GatherRows(a.Inputs, a.Targets, g.tokens, g.parts[row])
}

// close frees the memory; nil is allowed.
func (g *gather) close() error {
	if g == nil {
		return nil
	}
	return g.slab.Free()
}
