package student

import (
	"crypto/sha256"
	"fmt"

	"mito/engine/arch"
	"mito/engine/session"
	"mito/engine/session/adapters"
	"mito/kernels/kv"
	"mito/kernels/parallel"
)

// Options of New. The zero value is one thread and pages of 64 positions. No option changes a bit of any result.
type Options struct {
	Threads  int // fewer than one means one, more than parallel.MaxThreads means that
	PageSize int // positions in a page of the key/value cache; fewer than one means 64

	// Blocks says which matrices with zero 4×8 blocks are stored without those (kernels/sparse).
	Blocks Blocks

	// Adapters are what sequences may go through, see Session.Adapt. They are float32, read the dequantised rows that the
	// matrices read, and have no part in the digest.
	Adapters []adapters.Adapter
}

const defaultPage = 64

// Blocks says which matrices are stored in blocks.
type Blocks int

// Values of Blocks.
const (
	// BlocksMeasured takes for each matrix the form in which one row is multiplied faster, measured while the model is made.
	// Large batches may be faster dense.
	BlocksMeasured Blocks = iota
	BlocksNever
	BlocksAlways // where half of the blocks or more are zero
)

type layer struct {
	norm1, norm1Bias, norm2, norm2Bias []float32
	queryNorm, keyNorm                 []float32
	qkv, out, up, down                 linear    // up holds Gate's rows, if any, before Up's
	ple                                *perLayer // nil without per-layer embeddings
	last                               linear    // of those that add to the residual stream
	outNorm, lastNorm                  normAdder // out and last fused with the norm behind them, nil where that cannot be
	upReLU2                            relu2er   // up fused with ReLU², nil likewise
	mlp, heads                         int       // F, H·D
	shape                              kv.Shape
}

// perLayer are the per-layer embeddings of a layer.
type perLayer struct {
	table     *rowTable
	gate, out linear
}

// linears are the products of a layer.
func (l *layer) linears() []linear {
	list := []linear{l.qkv, l.out, l.up, l.down}
	if l.ple != nil {
		list = append(list, l.ple.gate, l.ple.out)
	}
	return list
}

// Model is a student ready to run. It is immutable but for Close.
type Model struct {
	cfg         arch.Config
	embed       table
	pos         *rowTable // nil without learned positions
	head        linear    // the embedding too where that is tied
	layers      []layer
	norm        []float32
	normBias    []float32
	rotary      *session.Rotary // nil for learned positions
	blocked     int             // matrices stored in blocks
	adapters    []string        // their names
	page        int
	pool        *parallel.Pool
	weights     [sha256.Size]byte // their hash
	unsignedMLP bool              // the activation never gives negative values
	widest      struct {
		x, qkv, heads int
		scratch, head scratch // of the layers, of the head
	}
}

// New checks the weights and packs them for the kernels of this processor; w is not needed afterwards. Errors: as of
// Weights.Validate.
func New(w *Weights, o Options) (*Model, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	c := w.Config
	if err := adapters.Check(o.Adapters, c); err != nil {
		return nil, err
	}
	m := &Model{cfg: c, norm: w.Norm, normBias: w.NormBias, page: o.PageSize, adapters: adapters.Names(o.Adapters), weights: w.hash()}
	if m.page < 1 {
		m.page = defaultPage
	}
	m.page = min(m.page, (c.Context+15)/16*16) // whole blocks of the decode kernels
	m.unsignedMLP = c.Activation == arch.ActReLU || c.Activation == arch.ActReLU2
	if c.Position == arch.PositionRoPE {
		m.rotary = session.NewRotary(c.Context, func(positions int) (cos, sin []float32) {
			return ropeTables(positions, c.HeadDim, c.RoPETheta)
		})
	}
	p := packer{blocks: o.Blocks, adapters: o.Adapters, modules: c.Index()}
	if c.Position == arch.PositionLearned {
		m.pos = newRowTable(&w.Positions)
	}
	if c.TieEmbeddings {
		m.head = p.pack("model.embed_tokens", &w.Embedding)
		m.embed = m.head
	} else {
		m.head = p.pack("lm_head", &w.Head)
		m.embed = newRowTable(&w.Embedding)
	}
	for i := range w.Layers {
		m.layers = append(m.layers, m.newLayer(&p, i, &w.Layers[i]))
	}
	if p.err != nil {
		return nil, p.err
	}
	m.blocked = p.blocked
	m.measure()
	if o.Threads > 1 {
		m.pool = parallel.New(o.Threads)
	}
	return m, nil
}

func (m *Model) newLayer(p *packer, i int, w *Layer) layer {
	c, shape, at := &m.cfg, m.cfg.Layer(i), fmt.Sprintf("model.layers.%d.", i)
	l := layer{
		heads: shape.Heads * c.HeadDim,
		norm1: w.Norm1, norm1Bias: w.Norm1Bias, norm2: w.Norm2, norm2Bias: w.Norm2Bias,
		queryNorm: w.QueryNorm, keyNorm: w.KeyNorm, mlp: shape.IntermediateSize,
		qkv: p.adapt(p.pack(at+"self_attn.qkv", &w.Query, &w.Key, &w.Value), i, arch.Query, arch.Key, arch.Value),
		out: p.adapt(p.pack(at+"self_attn.o_proj", &w.Output), i, arch.Output),
		shape: kv.Shape{
			Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: c.HeadDim, Window: shape.Window, PageSize: m.page, Scale: shape.Scale,
		},
	}
	p.unsigned = m.unsignedMLP
	l.down = p.adapt(p.pack(at+"mlp.down_proj", &w.Down), i, arch.Down)
	p.unsigned = false
	if c.Activation == arch.ActSwiGLU {
		l.up = p.adapt(p.pack(at+"mlp.gate_up", &w.Gate, &w.Up), i, arch.Gate, arch.Up)
	} else {
		l.up = p.adapt(p.pack(at+"mlp.up_proj", &w.Up), i, arch.Up)
	}
	l.last = l.down
	if c.PLEDim > 0 {
		l.ple = &perLayer{
			table: newRowTable(&w.PLE.Table),
			gate:  p.adapt(p.pack(at+arch.PLEGate.String(), &w.PLE.Gate), i, arch.PLEGate),
			out:   p.adapt(p.pack(at+arch.PLEOut.String(), &w.PLE.Out), i, arch.PLEOut),
		}
		l.last = l.ple.out
	}
	if c.Norm == arch.NormRMS {
		l.outNorm, _ = l.out.(normAdder)
		l.lastNorm, _ = l.last.(normAdder)
	}
	if c.Activation == arch.ActReLU2 {
		l.upReLU2, _ = l.up.(relu2er)
	}
	return l
}

// measure finds the sizes of a row's buffers.
func (m *Model) measure() {
	w := &m.widest
	w.x = max(m.cfg.HiddenSize, m.cfg.PLEDim)
	m.head.need(&w.head)
	for i := range m.layers {
		l := &m.layers[i]
		for _, x := range l.linears() {
			x.need(&w.scratch)
		}
		qkv, _ := l.qkv.size()
		up, _ := l.up.size()
		w.x = max(w.x, up, l.heads)
		w.qkv = max(w.qkv, qkv)
		w.heads = max(w.heads, l.heads)
	}
}

// Config returns the shape of the model.
func (m *Model) Config() arch.Config { return m.cfg }

// Threads returns the number of threads that a session may use.
func (m *Model) Threads() int { return m.pool.Threads() }

// Bytes returns the memory of the packed weights.
func (m *Model) Bytes() int {
	n := m.embed.bytes()
	if m.pos != nil {
		n += m.pos.bytes()
	}
	if !m.cfg.TieEmbeddings {
		n += m.head.bytes()
	}
	for i := range m.layers {
		for _, x := range m.layers[i].linears() {
			n += x.bytes()
		}
		if p := m.layers[i].ple; p != nil {
			n += p.table.bytes()
		}
	}
	return n
}

// Blocked returns the number of matrices that are stored in blocks.
func (m *Model) Blocked() int { return m.blocked }

// Close ends the model's threads. The model still works afterwards, on the caller's.
func (m *Model) Close() { m.pool.Close() }
