package train

import (
	"fmt"

	"mito/engine/data"
	"mito/engine/model"
)

// keptTokens is how many tokens of a row the layers between the first and the last see at a step, counted from 0: random
// layerwise token dropping, arXiv:2211.11586. Of T tokens DropTokens·T are left out at first, linearly fewer from step to
// step, and none from the share DropUntil of the run on. A number of tokens is kept for a while, in sixteenths of a row,
// because each has activations of its own.
func (o Options) keptTokens(step, tokens int) int {
	if o.DropTokens == 0 {
		return tokens
	}
	left := 1 - float64(step)/(o.DropUntil*float64(o.Steps))
	unit := max(1, tokens/16)
	drop := int(o.DropTokens*max(0, left)*float64(tokens)) / unit * unit
	return max(1, tokens-drop)
}

// checkDrop refuses dropping where no layer is between the first and the last.
func (o Options) checkDrop(m *model.Model, from int) error {
	switch {
	case o.DropTokens == 0:
		return nil
	case m.Config.Layers < 3:
		return &OptionError{Field: "drop-tokens", Got: o.DropTokens,
			Want: fmt.Sprintf("0 for a model of %d layers: the first and the last see all tokens", m.Config.Layers)}
	case from > 0:
		return &OptionError{Field: "drop-tokens", Got: o.DropTokens, Want: "0 where the outputs of lower layers are kept: they are those of all tokens"}
	}
	return nil
}

// middle are the layers that see fewer tokens at the current stage; nil where all see all.
func (t *Trainer) middle(tokens int) *model.Middle {
	if t.kept == tokens {
		return nil
	}
	return &model.Middle{From: 1, To: t.Model.Config.Layers - 1, Time: t.kept}
}

// stage makes activations for as many tokens as the layers in the middle see from this step on. Those of before go first, and
// what was recorded of them.
func (t *Trainer) stage() error {
	_, tokens := t.source.Shape()
	kept := t.o.keptTokens(t.step, tokens)
	if kept == t.kept {
		return nil
	}
	t.kept = kept
	if err := t.recorder.forget(); err != nil {
		return err
	}
	if err := t.closeActivations(); err != nil {
		return err
	}
	if err := t.cut(); err != nil {
		return err
	}
	if t.gather == nil {
		return nil
	}
	return t.gather.fill(t.micro)
}

// drawKept is what the draws of kept tokens have in place of the dropout's and the batch's.
const drawKept = 0x6b657074

// keep draws the tokens of a micro-batch that the layers in the middle see, anew for each step and row of the batch.
func (t *Trainer) keep(m *microBatch) error {
	tokens := t.batch.Time
	if t.kept == tokens {
		return nil
	}
	t.rows = t.rows[:0]
	for r := range m.Rows {
		need := t.kept
		for i := 0; need > 0; i++ { // each of the left ones is as likely as the others
			if data.Mix(t.o.Seed, drawKept, uint64(m.Step), uint64(m.Row+r), uint64(i))%uint64(tokens-i) < uint64(need) {
				t.rows = append(t.rows, int32(r*tokens+i))
				need--
			}
		}
	}
	return t.Model.Keep(m.a, t.rows)
}
