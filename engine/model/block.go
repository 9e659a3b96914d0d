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
// with norms of q and k, a gate beside up, and a [perLayer] behind down, where the configuration has them.
type Block struct {
	norm1, norm2 Norm
	q, k, v, o   Linear
	qNorm, kNorm *Norm // nil without QK-norm, arXiv:2010.04245
	gate         *Linear
	up, down     Linear
	ple          *perLayer // nil without per-layer embeddings
	shape        arch.Layer
	headDim      int
	act          backend.Activation
}

// newBlock connects layer i to its parameters.
func newBlock(c *arch.Config, i int, all map[arch.Place]declared, linear func(arch.Part) Linear) *Block {
	at := func(p arch.Part) declared { return all[arch.Place{Layer: i, Part: p}] }
	b := &Block{
		norm1: newNorm(c, at(arch.Norm1)), q: linear(arch.Query), k: linear(arch.Key), v: linear(arch.Value), o: linear(arch.Output),
		norm2: newNorm(c, at(arch.Norm2)), shape: c.Layer(i), headDim: c.HeadDim, act: activation(c),
	}
	if c.QKNorm {
		b.qNorm, b.kNorm = &Norm{Gain: at(arch.QueryNorm).weight, eps: c.NormEps}, &Norm{Gain: at(arch.KeyNorm).weight, eps: c.NormEps}
	}
	if c.Activation == arch.ActSwiGLU {
		gate := linear(arch.Gate)
		b.gate = &gate
	}
	b.up, b.down = linear(arch.Up), linear(arch.Down)
	if c.PLEDim > 0 {
		b.ple = &perLayer{table: at(arch.PLETable).weight, gate: linear(arch.PLEGate), out: linear(arch.PLEOut), place: 2*c.Layers + 1 + i}
	}
	return b
}

func (l *Block) linears() []*Linear {
	list := []*Linear{&l.q, &l.k, &l.v, &l.o}
	if l.gate != nil {
		list = append(list, l.gate)
	}
	list = append(list, &l.up, &l.down)
	if l.ple != nil {
		list = append(list, &l.ple.gate, &l.ple.out)
	}
	return list
}

func (l *Block) norms() []*Norm {
	list := []*Norm{&l.norm1, &l.norm2}
	if l.qNorm != nil {
		list = append(list, l.qNorm, l.kNorm)
	}
	return list
}

func (l *Block) attention(s *layerActivations) backend.AttentionArgs {
	args := backend.AttentionArgs{
		Batch: s.batch, Time: s.time, Heads: l.shape.Heads, KVHeads: l.shape.KVHeads, HeadDim: l.headDim,
		Window: l.shape.Window, Scale: l.shape.Scale,
	}
	if s.starts != nil {
		args.Window, args.Starts = 0, s.starts
	}
	return args
}

// Forward computes the residual stream behind layer i, out, from that before it, x.
func (l *Block) Forward(m *Model, a *Activations, i int, out, x *tensor.Dense) error {
	b, s := m.b, a.layers[i]
	return backend.First(
		l.norm1.Forward(b, s.n1, x, s.stats1),
		l.q.Product.Forward(b, s.qRaw, s.n1, s.states.q),
		l.k.Product.Forward(b, s.kRaw, s.n1, s.states.k),
		l.v.Product.Forward(b, s.v, s.n1, s.states.v),
		l.position(m, s),
		l.attend(m, s),
		a.addBranch(b, &l.o, s.mid, x, s.attn, s.branch, s.states.o, 2*i+1),

		l.norm2.Forward(b, s.n2, s.mid, s.stats2),
		l.up.Product.Forward(b, s.up, s.n2, s.states.up),
		l.activate(b, s),
		a.addBranch(b, &l.down, out, s.mid, s.hidden, s.branch, s.states.down, 2*i+2),
		l.ple.forward(m, a, i, out),
	)
}

// addBranch sets out = stream + dropout(linear(x)). Where nothing is dropped, a dense product adds at once.
func (a *Activations) addBranch(b backend.Backend, l *Linear, out, stream, x, branch *tensor.Dense, state State, place int) error {
	if d, ok := l.Product.(Dense); ok && a.Dropout == 0 {
		return d.add(b, out, stream, x)
	}
	return backend.First(
		l.Product.Forward(b, branch, x, state),
		a.dropout(b, branch, branch, place),
		b.Add(out, stream, branch),
	)
}

// position normalises and rotates queries and keys. s.q is s.qRaw where there is no QK-norm.
func (l *Block) position(m *Model, s *layerActivations) error {
	if l.qNorm != nil {
		if err := backend.First(
			l.qNorm.Forward(m.b, s.qHeads, s.qRawHeads, s.qStats),
			l.kNorm.Forward(m.b, s.kHeads, s.kRawHeads, s.kStats),
		); err != nil {
			return err
		}
	}
	return l.rotate(m, s, s.q, s.k, false)
}

func (l *Block) rotate(m *Model, s *layerActivations, q, k *tensor.Dense, inverse bool) error {
	if m.cos == nil {
		return nil
	}
	return backend.First(
		m.b.RoPE(q, s.positions, m.cos, m.sin, inverse),
		m.b.RoPE(k, s.positions, m.cos, m.sin, inverse),
	)
}

func (l *Block) activate(b backend.Backend, s *layerActivations) error {
	if l.gate == nil {
		return b.Activate(s.hidden, s.up, l.act)
	}
	return backend.First(
		l.gate.Product.Forward(b, s.gate, s.n2, s.states.gate),
		b.SwiGLU(s.hidden, s.gate, s.up),
	)
}

// Backward turns dx, the gradient of the stream behind layer i, into that of x, the stream before it. Where that is not
// needed, it stops at the last gradient of a parameter that is trained and leaves dx unfinished.
func (l *Block) Backward(m *Model, a *Activations, i int, dx, x *tensor.Dense, needed bool) error {
	b, s, g := m.b, a.layers[i], a.grads[i]
	attends := needed || l.norm1.trained() || l.projects() || l.o.trained()
	norms := attends || l.norm2.trained()
	if err := a.dropout(b, s.branch, dx, 2*i+2); err != nil {
		return err
	}
	dy := a.masked(s.branch, dx)
	dHidden := g.dHidden
	if !norms && !l.up.trained() && (l.gate == nil || !l.gate.trained()) {
		dHidden = nil
	}
	err := l.down.Product.Backward(b, dHidden, dy, s.hidden, s.states.down, false)
	if err == nil && dHidden != nil {
		err = l.activateBackward(b, s, g, norms)
	}
	if err = backend.First(err, l.ple.backward(m, a, i, dx, norms)); err != nil || !norms {
		return err
	}
	if err := l.norm2.Backward(b, dx, g.dn, s.mid, s.stats2, true); err != nil || !attends {
		return err
	}
	if err := a.dropout(b, s.branch, dx, 2*i+1); err != nil {
		return err
	}
	dy = a.masked(s.branch, dx)
	if !needed && !l.norm1.trained() && !l.projects() {
		return l.o.Product.Backward(b, nil, dy, s.attn, s.states.o, false)
	}
	if err := backend.First(
		l.o.Product.Backward(b, g.dAttn, dy, s.attn, s.states.o, false),
		b.AttentionBackward(g.dq, g.dk, g.dv, g.dAttn, s.attended(m), s.lse, s.q, s.k, s.v, l.attention(s)),
		l.positionBackward(m, s, g),
	); err != nil {
		return err
	}
	if !needed && !l.norm1.trained() {
		return backend.First(
			l.q.Product.Backward(b, nil, g.dq, s.n1, s.states.q, false),
			l.k.Product.Backward(b, nil, g.dk, s.n1, s.states.k, false),
			l.v.Product.Backward(b, nil, g.dv, s.n1, s.states.v, false),
		)
	}
	return backend.First(
		l.q.Product.Backward(b, g.dn, g.dq, s.n1, s.states.q, false),
		l.k.Product.Backward(b, g.dn, g.dk, s.n1, s.states.k, true),
		l.v.Product.Backward(b, g.dn, g.dv, s.n1, s.states.v, true),
		l.norm1.Backward(b, dx, g.dn, x, s.stats1, true),
	)
}

// projects says that something before the attention is trained.
func (l *Block) projects() bool {
	return l.q.trained() || l.k.trained() || l.v.trained() || l.qNorm != nil && (l.qNorm.trained() || l.kNorm.trained())
}

// activateBackward turns g.dHidden into g.dn, the gradient of s.n2, where that is needed.
func (l *Block) activateBackward(b backend.Backend, s *layerActivations, g *layerGradients, needed bool) error {
	dn := g.dn
	if !needed {
		dn = nil
	}
	if l.gate == nil {
		return backend.First(
			b.ActivateBackward(g.dHidden, g.dHidden, s.up, l.slope(s)),
			l.up.Product.Backward(b, dn, g.dHidden, s.n2, s.states.up, false),
		)
	}
	return backend.First(
		b.SwiGLUBackward(g.dHidden, g.dUp, g.dHidden, s.gate, s.up),
		l.gate.Product.Backward(b, dn, g.dHidden, s.n2, s.states.gate, false),
		l.up.Product.Backward(b, dn, g.dUp, s.n2, s.states.up, true),
	)
}

// slope is the activation whose backward pass reads s.up.
func (l *Block) slope(s *layerActivations) backend.Activation {
	if s.up == s.hidden && l.act == backend.ReLU2 {
		return backend.ReLU2Output
	}
	return l.act
}

func (l *Block) positionBackward(m *Model, s *layerActivations, g *layerGradients) error {
	err := l.rotate(m, s, g.dq, g.dk, true)
	if err != nil || l.qNorm == nil {
		return err
	}
	return backend.First(
		l.qNorm.Backward(m.b, g.dqHeads, g.dqHeads, s.qRawHeads, s.qStats, false),
		l.kNorm.Backward(m.b, g.dkHeads, g.dkHeads, s.kRawHeads, s.kStats, false),
	)
}
