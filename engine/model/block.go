package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Block is one pre-norm transformer layer:
//
//	x ← x + o(attention(rope(norm(q(n))), rope(norm(k(n))), v(n)))   n = norm1(x)
//	x ← x + down(act(up(n)))                                         n = norm2(x)
//
// with norms of q and k, and a gate beside up, where the configuration has them.
type Block struct {
	norm1, norm2 Norm
	q, k, v, o   Linear
	qNorm, kNorm *Norm // nil without QK-norm, arXiv:2010.04245
	gate         *Linear
	up, down     Linear
	shape        arch.Layer
	headDim      int
	act          backend.Activation
}

// newBlock connects layer i to its parameters; part gives those of a module, or none.
func newBlock(c arch.Config, i int, part func(arch.Part) declared) *Block {
	linear := func(p arch.Part) Linear {
		d := part(p)
		return Linear{W: d.weight, B: d.bias}
	}
	b := &Block{
		norm1: newNorm(c, part(arch.Norm1)), norm2: newNorm(c, part(arch.Norm2)),
		q: linear(arch.Query), k: linear(arch.Key), v: linear(arch.Value), o: linear(arch.Output),
		up: linear(arch.Up), down: linear(arch.Down), shape: c.Layer(i), headDim: c.HeadDim, act: activation(c),
	}
	if d := part(arch.QueryNorm); d.weight != nil {
		b.qNorm = &Norm{Gain: d.weight, eps: c.NormEps}
		b.kNorm = &Norm{Gain: part(arch.KeyNorm).weight, eps: c.NormEps}
	}
	if part(arch.Gate).weight != nil {
		gate := linear(arch.Gate)
		b.gate = &gate
	}
	return b
}

func newNorm(c arch.Config, d declared) Norm {
	return Norm{Gain: d.weight, Bias: d.bias, eps: c.NormEps, layer: c.Norm == arch.NormLayer}
}

func (l *Block) attention(a *Activations) backend.AttentionArgs {
	return backend.AttentionArgs{
		Batch: a.Batch, Time: a.Time, Heads: l.shape.Heads, KVHeads: l.shape.KVHeads, HeadDim: l.headDim,
		Window: l.shape.Window, Scale: l.shape.Scale,
	}
}

// Forward computes a.x[i+1] from a.x[i].
func (l *Block) Forward(m *Model, a *Activations, i int) error {
	b, s := m.b, a.layers[i]
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
	b, s, g := m.b, a.layers[i], a.grads[i]
	if err := first(
		a.dropout(b, a.branch, a.dx, 2*i+2),
		l.down.Backward(b, g.dHidden, a.gradOf(a.branch), s.hidden, false),
		l.activateBackward(b, a, s, g),
		l.norm2.Backward(b, a.dn, a.dn, s.mid, s.stats2),
		b.Add(a.dx, a.dx, a.dn),
	); err != nil {
		return err
	}
	return first(
		a.dropout(b, a.branch, a.dx, 2*i+1),
		l.o.Backward(b, g.dAttn, a.gradOf(a.branch), s.attn, false),
		b.AttentionBackward(g.dq, g.dk, g.dv, g.dAttn, s.attn, s.lse, s.q, s.k, s.v, l.attention(a)),
		l.positionBackward(m, a, s, g),
		l.q.Backward(b, a.dn, g.dq, s.n1, false),
		l.k.Backward(b, a.dn, g.dk, s.n1, true),
		l.v.Backward(b, a.dn, g.dv, s.n1, true),
		l.norm1.Backward(b, a.dn, a.dn, a.x[i], s.stats1),
		b.Add(a.dx, a.dx, a.dn),
	)
}

// activateBackward turns g.dHidden into a.dn, the gradient of s.n2.
func (l *Block) activateBackward(b backend.Backend, a *Activations, s *layerActivations, g *layerGradients) error {
	if l.gate == nil {
		return first(
			b.ActivateBackward(g.dHidden, g.dHidden, s.up, l.act),
			l.up.Backward(b, a.dn, g.dHidden, s.n2, false),
		)
	}
	return first(
		b.SwiGLUBackward(g.dHidden, g.dUp, g.dHidden, s.gate, s.up),
		l.gate.Backward(b, a.dn, g.dHidden, s.n2, false),
		l.up.Backward(b, a.dn, g.dUp, s.n2, true),
	)
}

func (l *Block) positionBackward(m *Model, a *Activations, s *layerActivations, g *layerGradients) error {
	err := l.rotate(m, a, g.dq, g.dk, true)
	if err != nil || l.qNorm == nil {
		return err
	}
	return first(
		l.qNorm.Backward(m.b, g.dqHeads, g.dqHeads, s.qRawHeads, s.qStats),
		l.kNorm.Backward(m.b, g.dkHeads, g.dkHeads, s.kRawHeads, s.kStats),
	)
}
