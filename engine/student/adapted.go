package student

import (
	"mito/engine/arch"
	"mito/engine/session/adapters"
	"mito/kernels/vec"
)

// adaptedLinear is a linear with low-rank additions for the rows whose sequence has an adapter. It has no fused forms, which have
// the same bits anyway.
type adaptedLinear struct {
	linear
	stack *adapters.Stack
	k     int
}

// adapt puts the additions of the adapters to some modules of a layer, whose rows are stacked in l, beside it.
func (p *packer) adapt(l linear, layer int, parts ...arch.Part) linear {
	if l == nil || len(p.adapters) == 0 {
		return l
	}
	var list []arch.Module
	for _, part := range parts {
		list = append(list, p.modules[arch.Place{Layer: layer, Part: part}])
	}
	stack := adapters.NewStack(p.adapters, list...)
	if stack == nil {
		return l
	}
	_, k := l.size()
	return &adaptedLinear{linear: l, stack: stack, k: k}
}

func (l *adaptedLinear) need(s *scratch) {
	l.linear.need(s)
	s.low, s.in = max(s.low, l.stack.Ranks()), max(s.in, l.k)
}

// mul also multiplies the rows by A: what follows it may overwrite them.
func (l *adaptedLinear) mul(w *worker, rows int, unsigned bool) {
	l.linear.mul(w, rows, unsigned)
	for i := range rows {
		if a := w.rows[i].Adapter; a > 0 {
			vec.DequantizeRow(w.in[:l.k], w.q8[i*l.k:][:l.k], w.scale[i])
			l.stack.Down(l.low(w, i), w.in[:l.k], a)
		}
	}
}

func (l *adaptedLinear) low(w *worker, i int) []float32 {
	n := l.stack.Ranks()
	return w.low[i*n:][:n]
}

func (l *adaptedLinear) into(dst []float32, w *worker, i int) {
	l.linear.into(dst, w, i)
	l.stack.Up(dst, l.low(w, i), w.rows[i].Adapter)
}

func (l *adaptedLinear) addTo(x []float32, w *worker, i int) {
	l.linear.addTo(x, w, i)
	l.stack.Up(x, l.low(w, i), w.rows[i].Adapter)
}
