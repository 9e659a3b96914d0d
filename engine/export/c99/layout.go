package c99

import (
	"mito/engine/arch"
	"mito/engine/student"
)

// layout is where what a model needs lies in flash and in RAM.
type layout struct {
	c      arch.Config
	slots  []int // of the cache of each layer
	buffer int   // floats of the buffer behind the residual stream
	row    int   // bytes of a quantised row, the widest

	// Where parts of the state begin, in words, and its end.
	scoresAt, rotaryAt, codesAt, words int

	parts parts
}

// parts are what a model may do without: macros of model.h.
type parts struct {
	Bias, Blocks, Packed, Gate, LayerNorm, QKNorm, GELU, Square, PLE bool
	Rope                                                             int // 0 learned positions, 1 tables, 2 factors
	Adapters                                                         int
}

// smallest is what the buffers have room for at least: the self-test's rows.
const smallest = 32

// tableBytes is the largest size of rotary tables that go to flash. Beyond it a state turns by one position a token, in float64.
const tableBytes = 16 << 10

func pad(n, to int) int { return (n + to - 1) / to * to }

// rowBytes is the room of a row of codes in flash and in the cache.
func rowBytes(cols int) int { return pad(cols, 4) }

// newLayout lays out a model whose rotary tables are tables as far as they take so many bytes.
func newLayout(w *student.Weights, blocks, packed bool, tables int) layout {
	c := w.Config
	l := layout{c: c, buffer: smallest, row: max(smallest, rowBytes(c.HiddenSize))}
	kv, kvCodes, scores := 0, 0, 0
	for i := range c.Layers {
		s := c.Layer(i)
		slots := c.Context
		if s.Window > 0 {
			slots = min(slots, s.Window)
		}
		l.slots = append(l.slots, slots)
		scores = max(scores, slots)
		l.buffer = max(l.buffer, c.HiddenSize, (s.Heads+2*s.KVHeads)*c.HeadDim, s.IntermediateSize+c.PLEDim)
		l.row = max(l.row, rowBytes(s.Heads*c.HeadDim), rowBytes(s.IntermediateSize), rowBytes(c.PLEDim))
		kv += 2 * s.KVHeads * slots
		kvCodes += 2 * s.KVHeads * slots * rowBytes(c.HeadDim)
	}
	l.row = pad(l.row, blockCols) // a block reads 8
	if packed {
		l.row = pad(l.row, codeGroup)
	}
	l.parts = parts{
		Bias: c.AttentionBias || c.MLPBias, Blocks: blocks, Packed: packed, Gate: c.Activation == arch.ActSwiGLU, LayerNorm: c.Norm == arch.NormLayer,
		QKNorm: c.QKNorm, GELU: c.Activation == arch.ActGELU, Square: c.Activation == arch.ActReLU2,
		PLE: c.PLEDim > 0,
	}
	if c.Position == arch.PositionRoPE {
		l.parts.Rope = 1
		if l.rotaryTable() > tables {
			l.parts.Rope = 2
		}
	}
	l.scoresAt = c.HiddenSize + l.buffer + kv
	l.rotaryAt = l.scoresAt + scores
	l.codesAt = l.rotaryAt
	if l.parts.Rope == 2 {
		l.codesAt += c.HeadDim + 2*c.HeadDim // cosines and sines, and both in float64
	}
	l.words = l.codesAt + (l.row+kvCodes)/4
	return l
}

// rotaryTable is the size of the tables of cosines and sines.
func (l *layout) rotaryTable() int { return 2 * 4 * l.c.Context * (l.c.HeadDim / 2) }

// stateBytes is sizeof(student_state).
func (l *layout) stateBytes() int { return 4 * (2 + l.words) }
