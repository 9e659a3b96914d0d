package student

import (
	"fmt"

	"mito/engine/arch"
	"mito/kernels/attn"
	"mito/kernels/parallel"
	"mito/kernels/qgemm"
	"mito/kernels/sparse"
)

// Options of New. The zero value is one thread and pages of 64 positions. No option changes a bit of any result.
type Options struct {
	Threads  int // fewer than one means one, more than parallel.MaxThreads means that
	PageSize int // positions in a page of the key/value cache; fewer than one means 64

	// Sparse stores matrices whose 4×8 blocks are half or more zeros in blocks (kernels/sparse). One sequence decodes
	// faster and less memory is read; large batches are faster dense.
	Sparse bool
}

const defaultPage = 64

// product multiplies INT8 rows by a packed matrix; qgemm.Packed.Mul says how.
type product interface {
	N() int
	K() int
	PaddedN() int
	Bytes() int
	Row(dst []int8, r int)
	Mul(acc []int32, stride int, x []int8, rows, n0, n1 int, unsigned bool)
}

// linear is a packed matrix with its scales and bias; the matrices that read the same input are one.
type linear struct {
	product
	n, k, stride int // N, K and PaddedN
	scale, bias  []float32
}

type layer struct {
	norm1, norm1Bias, norm2, norm2Bias []float32
	queryNorm, keyNorm                 []float32
	qkv, out, up, down                 linear // up holds Gate's rows, if any, before Up's
	mlp                                int
	shape                              attn.DecodeShape
}

// Model is a student ready to run. It is immutable but for Close.
type Model struct {
	cfg         arch.Config
	embed, pos  linear
	head        linear
	layers      []layer
	norm        []float32
	normBias    []float32
	cos, sin    []float32 // [Context,D/2]
	page        int
	pool        *parallel.Pool
	unsignedMLP bool // the activation never gives negative values
	widest      struct{ x, acc, qkv, heads int }
}

// New checks the weights and packs them for the kernels of this processor; w is not needed afterwards. Errors: as of
// Weights.Validate.
func New(w *Weights, o Options) (*Model, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	c := w.Config
	m := &Model{cfg: c, norm: w.Norm, normBias: w.NormBias, page: o.PageSize}
	if m.page < 1 {
		m.page = defaultPage
	}
	m.page = min(m.page, (c.Context+15)/16*16) // whole blocks of the decode kernels
	m.unsignedMLP = c.Activation == arch.ActReLU || c.Activation == arch.ActReLU2
	if c.Position == arch.PositionRoPE {
		m.cos, m.sin = ropeTables(c.Context, c.HeadDim, c.RoPETheta)
	}
	p := packer{sparse: o.Sparse}
	m.embed = p.pack("model.embed_tokens", &w.Embedding)
	if c.Position == arch.PositionLearned {
		m.pos = p.pack("model.embed_positions", &w.Positions)
	}
	m.head = m.embed
	if !c.TieEmbeddings {
		m.head = p.pack("lm_head", &w.Head)
	}
	for i := range w.Layers {
		m.layers = append(m.layers, m.newLayer(&p, i, &w.Layers[i]))
	}
	if p.err != nil {
		return nil, p.err
	}
	m.measure()
	if o.Threads > 1 {
		m.pool = parallel.New(o.Threads)
	}
	return m, nil
}

func (m *Model) newLayer(p *packer, i int, w *Layer) layer {
	c, shape, at := &m.cfg, m.cfg.Layer(i), fmt.Sprintf("model.layers.%d.", i)
	l := layer{
		norm1: w.Norm1, norm1Bias: w.Norm1Bias, norm2: w.Norm2, norm2Bias: w.Norm2Bias,
		queryNorm: w.QueryNorm, keyNorm: w.KeyNorm, mlp: shape.IntermediateSize,
		qkv:  p.pack(at+"self_attn.qkv", &w.Query, &w.Key, &w.Value),
		out:  p.pack(at+"self_attn.o_proj", &w.Output),
		down: p.pack(at+"mlp.down_proj", &w.Down),
		shape: attn.DecodeShape{
			Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: c.HeadDim, Window: shape.Window, PageSize: m.page, Scale: shape.Scale,
		},
	}
	if c.Activation == arch.ActSwiGLU {
		l.up = p.pack(at+"mlp.gate_up", &w.Gate, &w.Up)
	} else {
		l.up = p.pack(at+"mlp.up_proj", &w.Up)
	}
	return l
}

// packer packs matrices and keeps the first error.
type packer struct {
	sparse bool
	err    error
}

// sparseShare is the largest share of stored blocks at which blocks are used.
const sparseShare = 0.55

// pack stacks matrices that read the same input.
func (p *packer) pack(name string, ms ...*Matrix) linear {
	var l linear
	var q []int8
	rows := 0
	for _, m := range ms {
		q = append(q, m.Q...)
		l.scale = append(l.scale, m.Scale...)
		if m.Bias != nil {
			l.bias = append(l.bias, m.Bias...)
		}
		rows += m.Rows
	}
	packed, err := p.product(q, rows, ms[0].Cols)
	if err != nil {
		if p.err == nil {
			p.err = &WeightError{Tensor: name, Err: err}
		}
		return l
	}
	l.product, l.n, l.k, l.stride = packed, packed.N(), packed.K(), packed.PaddedN()
	return l
}

func (p *packer) product(q []int8, rows, cols int) (product, error) {
	if p.sparse {
		blocks, err := sparse.Pack(q, rows, cols)
		if err != nil {
			return nil, err
		}
		if stored, all := blocks.Blocks(); float64(stored) <= sparseShare*float64(all) {
			return blocks, nil
		}
	}
	return qgemm.Pack(q, rows, cols)
}

// measure finds the sizes of a row's buffers.
func (m *Model) measure() {
	w := &m.widest
	w.x = m.cfg.HiddenSize
	w.acc = m.head.stride
	for i := range m.layers {
		l := &m.layers[i]
		w.x = max(w.x, l.mlp, l.out.k)
		w.acc = max(w.acc, l.qkv.stride, l.out.stride, l.up.stride, l.down.stride)
		w.qkv = max(w.qkv, l.qkv.n)
		w.heads = max(w.heads, l.out.k)
	}
	if m.cfg.Activation == arch.ActSwiGLU {
		for i := range m.layers {
			w.x = max(w.x, 2*m.layers[i].mlp)
		}
	}
}

// Config returns the shape of the model.
func (m *Model) Config() arch.Config { return m.cfg }

// Threads returns the number of threads that a session may use.
func (m *Model) Threads() int { return m.pool.Threads() }

// Bytes returns the memory of the packed weights.
func (m *Model) Bytes() int {
	n := m.embed.Bytes()
	if m.pos.product != nil {
		n += m.pos.Bytes()
	}
	if !m.cfg.TieEmbeddings {
		n += m.head.Bytes()
	}
	for i := range m.layers {
		l := &m.layers[i]
		n += l.qkv.Bytes() + l.out.Bytes() + l.up.Bytes() + l.down.Bytes()
	}
	return n
}

// Close ends the model's threads. The model still works afterwards, on the caller's.
func (m *Model) Close() { m.pool.Close() }
