package student

import (
	"mito/engine/arch"
	"mito/engine/session"
	"mito/kernels/edge"
	"mito/kernels/kv"
	"mito/kernels/vec"
)

// worker holds the intermediate results of one thread for up to rows tokens.
type worker struct {
	m     *Model
	x     []float32 // [rows,C] the residual stream
	h     []float32 // one row, as wide as the widest
	qkv   []float32 // [rows,(H+2G)·D]
	heads []float32 // one row [H·D]
	q8    []int8    // [rows,K] quantised inputs of the next product
	scale []float32 // [rows] their scales
	acc   []int32   // [rows,N padded] sums of INT8 products; of the head, of as many rows as have wanted logits at once
	ple   []float32 // [rows,E] the gate of per-layer embeddings, then times the tokens' rows
	attn  *kv.ScratchQS8
	mul   mulTask
	low   []float32 // [rows,ranks] what adapters keep between mul and the rest
	in    []float32 // one dequantised row, for adapters

	cache  *cache // these and the rest are of the rows under way
	rows   []session.Row
	logits []float32

	cos, sin []float32 // of all positions of these rows
}

func newWorker(m *Model, rows int) *worker {
	d := &m.widest
	w := &worker{
		m: m, x: make([]float32, rows*m.cfg.HiddenSize), h: make([]float32, d.x), qkv: make([]float32, rows*d.qkv),
		heads: make([]float32, d.heads), q8: make([]int8, rows*d.x), scale: make([]float32, rows), acc: make([]int32, rows*d.scratch.acc),
		low: make([]float32, rows*d.scratch.low), in: make([]float32, d.scratch.in),
		ple: make([]float32, rows*m.cfg.PLEDim),
	}
	w.attn = kv.NewScratchQS8(&m.layers[0].shape, min(m.cfg.Context, firstPositions))
	return w
}

// firstPositions have room in a worker's scratch at once, which grows.
const firstPositions = 1024

// Begin implements session.Worker.
func (w *worker) Begin(c *cache, rows []session.Row, logits []float32) {
	m := w.m
	w.cache, w.rows, w.logits = c, rows, logits
	if m.rotary != nil {
		last := 0
		for i := range rows {
			last = max(last, rows[i].Pos)
		}
		w.cos, w.sin = m.rotary.UpTo(last + 1)
	}
	width := m.cfg.HiddenSize
	for i := range rows {
		m.lookup(w, w.x[i*width:][:width], &rows[i])
	}
	for i := range rows {
		m.normalize(w, i, w.x[i*width:][:width], m.layers[0].norm1, m.layers[0].norm1Bias)
	}
	m.store(w, 0)
}

// Layer implements session.Worker.
func (w *worker) Layer(i int) {
	m, l := w.m, &w.m.layers[i]
	m.attention(w, i)
	m.mlp(w, l, len(w.rows))
	m.perLayer(w, l, len(w.rows))
	width := m.cfg.HiddenSize
	if i+1 == len(m.layers) {
		for r := range w.rows {
			l.last.addTo(w.x[r*width:][:width], w, r)
		}
		m.writeLogits(w)
		return
	}
	next := &m.layers[i+1]
	for r := range w.rows {
		m.residualNorm(w, r, l.last, l.lastNorm, next.norm1, next.norm1Bias)
	}
	m.store(w, i+1)
}

// lookup sets x to the token's embedding, plus that of its position where positions are learned.
func (m *Model) lookup(w *worker, x []float32, r *session.Row) {
	q := w.q8[:len(x)]
	m.embed.lookup(x, q, int(r.Token))
	if m.pos != nil {
		m.pos.lookup(w.h[:len(x)], nil, r.Pos)
		vec.Add(x, x, w.h[:len(x)])
	}
}

// normalize quantises the normalised row i of the residual stream into row i of w.q8.
func (m *Model) normalize(w *worker, i int, from, gain, bias []float32) {
	width := m.cfg.HiddenSize
	h, q := w.h[:width], w.q8[i*width:][:width]
	if m.cfg.Norm == arch.NormRMS {
		w.scale[i] = edge.RMSNormQuantize(q, h, from, gain, m.cfg.NormEps)
		return
	}
	vec.LayerNorm(h, from, gain, bias, m.cfg.NormEps)
	w.scale[i] = vec.QuantizeRow(q, h)
}

// residualNorm adds row i of the product to the residual stream and normalises the sum.
func (m *Model) residualNorm(w *worker, i int, l linear, fused normAdder, gain, bias []float32) {
	width := m.cfg.HiddenSize
	x := w.x[i*width:][:width]
	if fused != nil {
		fused.addNorm(x, gain, m.cfg.NormEps, w, i)
		return
	}
	l.addTo(x, w, i)
	m.normalize(w, i, x, gain, bias)
}

// store reads the normalised rows that w.q8 holds, keeps their queries in w.qkv and stores their keys and values.
func (m *Model) store(w *worker, li int) {
	l := &m.layers[li]
	l.qkv.mul(w, len(w.rows), false)
	nq, nk := l.heads, l.shape.KVHeads*l.shape.HeadDim
	n, pages := nq+2*nk, w.cache.Layer(li)
	for i := range w.rows {
		r := &w.rows[i]
		qkv := w.qkv[i*n:][:n]
		l.qkv.into(qkv, w, i)
		if l.queryNorm != nil {
			m.normHeads(qkv[:nq], l.queryNorm)
			m.normHeads(qkv[nq:][:nk], l.keyNorm)
		}
		if m.rotary != nil {
			half := m.cfg.HeadDim / 2
			edge.RoPEHeads(qkv[:nq+nk], m.cfg.HeadDim, w.cos[r.Pos*half:][:half], w.sin[r.Pos*half:][:half])
		}
		page := w.cache.Table(r.Seq)[r.Pos/m.page]
		l.shape.StoreQS8(&pages[page], r.Pos%m.page, qkv[nq:][:nk], qkv[nq+nk:], w.attn)
	}
}

// attention reads the queries that store has left and leaves the normalised rows of the MLP in w.q8.
func (m *Model) attention(w *worker, li int) {
	l := &m.layers[li]
	nq, n, pages := l.heads, l.heads+2*l.shape.KVHeads*l.shape.HeadDim, w.cache.Layer(li)
	for i := range w.rows {
		r := &w.rows[i]
		l.shape.AttendQS8(w.heads[:nq], w.qkv[i*n:][:nq], pages, w.cache.Table(r.Seq), r.Pos, w.attn)
		w.scale[i] = vec.QuantizeRow(w.q8[i*nq:][:nq], w.heads[:nq])
	}
	l.out.mul(w, len(w.rows), false)
	for i := range w.rows {
		m.residualNorm(w, i, l.out, l.outNorm, l.norm2, l.norm2Bias)
	}
}

// normHeads normalises each head.
func (m *Model) normHeads(x, gain []float32) {
	for d := m.cfg.HeadDim; len(x) > 0; x = x[d:] {
		vec.RMSNorm(x[:d], x[:d], gain, m.cfg.NormEps)
	}
}

// mlp reads the normalised rows that w.q8 holds and multiplies by the down projection.
func (m *Model) mlp(w *worker, l *layer, rows int) {
	f := l.mlp
	if l.ple != nil {
		m.gate(w, l.ple, rows)
	}
	l.up.mul(w, rows, false)
	for i := range rows {
		if l.upReLU2 != nil {
			l.upReLU2.relu2(w, i)
			continue
		}
		n, _ := l.up.size()
		h, q := w.h[:n], w.q8[i*f:][:f]
		l.up.into(h, w, i)
		switch m.cfg.Activation {
		case arch.ActReLU:
			vec.ReLU(h, h)
		case arch.ActReLU2:
			vec.ReLU2(h, h)
		case arch.ActGELU:
			vec.GELU(h, h)
		case arch.ActSwiGLU:
			vec.SwiGLU(h[:f], h[:f], h[f:])
		}
		w.scale[i] = vec.QuantizeRow(q, h[:f])
	}
	l.down.mul(w, rows, m.unsignedMLP)
}

// gate multiplies the tokens' rows of the per-layer embeddings by the gate of the normalised rows that w.q8 holds.
func (m *Model) gate(w *worker, p *perLayer, rows int) {
	p.gate.mul(w, rows, false)
	n := m.cfg.PLEDim
	for i := range rows {
		row, h := w.ple[i*n:][:n], w.h[:n]
		p.gate.into(row, w, i)
		p.table.lookup(h, nil, int(w.rows[i].Token))
		vec.Mul(row, row, h)
	}
}

// perLayer adds the MLP's products to the residual stream and multiplies what the gate made by the output of the per-layer embeddings,
// where the layer has them.
func (m *Model) perLayer(w *worker, l *layer, rows int) {
	if l.ple == nil {
		return
	}
	n, width := m.cfg.PLEDim, m.cfg.HiddenSize
	for i := range rows {
		l.down.addTo(w.x[i*width:][:width], w, i)
		w.scale[i] = vec.QuantizeRow(w.q8[i*n:][:n], w.ple[i*n:][:n])
	}
	l.ple.out.mul(w, rows, false)
}

// writeLogits computes the head for the rows that want it.
func (m *Model) writeLogits(w *worker) {
	rows, width, v, n := w.rows, m.cfg.HiddenSize, m.cfg.VocabSize, 0
	for i := range rows {
		if rows[i].Out >= 0 {
			m.normalize(w, n, w.x[i*width:][:width], m.norm, m.normBias)
			n++
		}
	}
	if n == 0 {
		return
	}
	if need := n * m.widest.head.acc; len(w.acc) < need {
		w.acc = make([]int32, need)
	}
	m.head.mul(w, n, false)
	n = 0
	for i := range rows {
		if rows[i].Out >= 0 {
			m.head.into(w.logits[rows[i].Out*v:][:v], w, n)
			n++
		}
	}
}
