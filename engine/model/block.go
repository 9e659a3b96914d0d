package model

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Block is one pre-norm transformer layer:
//
//	x ← x + o(attention(rope(norm(q(n))), rope(norm(k(n))), v(n)))   n = norm1(x)
//	x ← x + down(act(up(n)))                                         n = norm2(x)
//
// with norms of q and k, and a gate beside up, where the configuration has them.
type Block struct {
	norm1, norm2    Norm
	q, k, v, o      Linear
	qNorm, kNorm    *Norm // nil without QK-norm, arXiv:2010.04245
	gate            *Linear
	up, down        Linear
	heads, kvHeads  int
	headDim, window int
	act             backend.Activation
}

func newBlock(ps *Params, c Config, i int) *Block {
	name := fmt.Sprintf("model.layers.%d.", i)
	linear := func(part string, out, in int, bias, residual bool) Linear {
		l := Linear{W: ps.add(name+part+".weight", Matrix, out, in)}
		l.W.residual = residual
		if bias {
			l.B = ps.add(name+part+".bias", Vector, out)
		}
		return l
	}
	b := &Block{
		heads: c.Heads, kvHeads: c.KVHeads, headDim: c.HeadDim, window: c.Window, act: c.activation(),
	}
	width, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	b.norm1 = newNorm(ps, c, name+"input_layernorm")
	b.q = linear("self_attn.q_proj", width, c.HiddenSize, c.AttentionBias, false)
	b.k = linear("self_attn.k_proj", kv, c.HiddenSize, c.AttentionBias, false)
	b.v = linear("self_attn.v_proj", kv, c.HiddenSize, c.AttentionBias, false)
	b.o = linear("self_attn.o_proj", c.HiddenSize, width, c.AttentionBias, true)
	if c.QKNorm {
		b.qNorm = &Norm{Gain: ps.add(name+"self_attn.q_norm.weight", Vector, c.HeadDim), eps: c.NormEps}
		b.kNorm = &Norm{Gain: ps.add(name+"self_attn.k_norm.weight", Vector, c.HeadDim), eps: c.NormEps}
	}
	b.norm2 = newNorm(ps, c, name+"post_attention_layernorm")
	if c.Activation == ActSwiGLU {
		gate := linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias, false)
		b.gate = &gate
	}
	b.up = linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias, false)
	b.down = linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias, true)
	return b
}

func (l *Block) attention(a *Activations) backend.AttentionArgs {
	return backend.AttentionArgs{
		Batch: a.Batch, Time: a.Time, Heads: l.heads, KVHeads: l.kvHeads, HeadDim: l.headDim,
		Window: l.window, Scale: float32(1 / math.Sqrt(float64(l.headDim))),
	}
}

// Forward computes a.x[i+1] from a.x[i].
func (l *Block) Forward(m *Model, a *Activations, i int) error {
	b, s := m.b, a.layer(i)
	x, out := a.x[i], a.x[i+1]
	return first(
		l.norm1.Forward(b, s.n1, x, s.stats1),
		l.q.Forward(b, s.qRaw, s.n1),
		l.k.Forward(b, s.kRaw, s.n1),
		l.v.Forward(b, s.v, s.n1),
		l.position(m, a, s),
		b.Attention(s.attn, s.lse, s.q, s.k, s.v, l.attention(a)),
		l.o.Forward(b, a.branch, s.attn),
		a.dropout(b, a.branch, a.branch, 2*i+1),
		b.Add(s.mid, x, a.branch),

		l.norm2.Forward(b, s.n2, s.mid, s.stats2),
		l.up.Forward(b, s.up, s.n2),
		l.activate(b, s),
		l.down.Forward(b, a.branch, s.hidden),
		a.dropout(b, a.branch, a.branch, 2*i+2),
		b.Add(out, s.mid, a.branch),
	)
}

// position normalises and rotates queries and keys. s.q is s.qRaw where there is no QK-norm.
func (l *Block) position(m *Model, a *Activations, s *layerActivations) error {
	if l.qNorm != nil {
		if err := first(
			l.qNorm.Forward(m.b, s.qHeads, s.qRawHeads, s.qStats),
			l.kNorm.Forward(m.b, s.kHeads, s.kRawHeads, s.kStats),
		); err != nil {
			return err
		}
	}
	return l.rotate(m, a, s.q, s.k, false)
}

func (l *Block) rotate(m *Model, a *Activations, q, k *tensor.Dense, inverse bool) error {
	if m.cos == nil {
		return nil
	}
	return first(
		m.b.RoPE(q, a.Positions, m.cos, m.sin, inverse),
		m.b.RoPE(k, a.Positions, m.cos, m.sin, inverse),
	)
}

func (l *Block) activate(b backend.Backend, s *layerActivations) error {
	if l.gate == nil {
		return b.Activate(s.hidden, s.up, l.act)
	}
	return first(
		l.gate.Forward(b, s.gate, s.n2),
		b.SwiGLU(s.hidden, s.gate, s.up),
	)
}

// Backward turns a.dx, the gradient of a.x[i+1], into that of a.x[i].
func (l *Block) Backward(m *Model, a *Activations, i int) error {
	b, s := m.b, a.layer(i)
	if err := first(
		a.dropout(b, a.branch, a.dx, 2*i+2),
		l.down.Backward(b, a.dHidden, a.gradOf(a.branch), s.hidden, false),
		l.activateBackward(b, a, s),
		l.norm2.Backward(b, a.dn, a.dn, s.mid, s.stats2),
		b.Add(a.dx, a.dx, a.dn),
	); err != nil {
		return err
	}
	return first(
		a.dropout(b, a.branch, a.dx, 2*i+1),
		l.o.Backward(b, a.dAttn, a.gradOf(a.branch), s.attn, false),
		b.AttentionBackward(a.dq, a.dk, a.dv, a.dAttn, s.attn, s.lse, s.q, s.k, s.v, l.attention(a)),
		l.positionBackward(m, a, s),
		l.q.Backward(b, a.dn, a.dq, s.n1, false),
		l.k.Backward(b, a.dn, a.dk, s.n1, true),
		l.v.Backward(b, a.dn, a.dv, s.n1, true),
		l.norm1.Backward(b, a.dn, a.dn, a.x[i], s.stats1),
		b.Add(a.dx, a.dx, a.dn),
	)
}

// activateBackward turns a.dHidden into a.dn, the gradient of s.n2.
func (l *Block) activateBackward(b backend.Backend, a *Activations, s *layerActivations) error {
	if l.gate == nil {
		return first(
			b.ActivateBackward(a.dHidden, a.dHidden, s.up, l.act),
			l.up.Backward(b, a.dn, a.dHidden, s.n2, false),
		)
	}
	return first(
		b.SwiGLUBackward(a.dHidden, a.dUp, a.dHidden, s.gate, s.up),
		l.gate.Backward(b, a.dn, a.dHidden, s.n2, false),
		l.up.Backward(b, a.dn, a.dUp, s.n2, true),
	)
}

func (l *Block) positionBackward(m *Model, a *Activations, s *layerActivations) error {
	err := l.rotate(m, a, a.dq, a.dk, true)
	if err != nil || l.qNorm == nil {
		return err
	}
	return first(
		l.qNorm.Backward(m.b, a.dqHeads, a.dqHeads, s.qRawHeads, s.qStats),
		l.kNorm.Backward(m.b, a.dkHeads, a.dkHeads, s.kRawHeads, s.kStats),
	)
}
