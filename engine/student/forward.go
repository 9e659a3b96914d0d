package student

import (
	"mito/engine/arch"
	"mito/kernels/attn"
	"mito/kernels/edge"
	"mito/kernels/vec"
)

// worker holds the intermediate results of one thread for up to rows tokens.
type worker struct {
	rows  int
	x     []float32 // [rows,C] the residual stream
	h     []float32 // one row, as wide as the widest
	qkv   []float32 // [rows,(H+2G)·D]
	heads []float32 // one row [H·D]
	q8    []int8    // [rows,K] quantised inputs of the next product
	scale []float32 // [rows] their scales
	acc   []int32   // [rows,N padded] its sums
	attn  *attn.ScratchQS8
	mul   mulTask
}

func newWorker(m *Model, rows int) *worker {
	d := &m.widest
	w := &worker{
		rows: rows, x: make([]float32, rows*m.cfg.HiddenSize), h: make([]float32, d.x), qkv: make([]float32, rows*d.qkv),
		heads: make([]float32, d.heads), q8: make([]int8, rows*d.x), scale: make([]float32, rows), acc: make([]int32, rows*d.acc),
	}
	w.attn = attn.NewScratchQS8(&m.layers[0].shape, m.cfg.Context)
	return w
}

// mulTask shares a product's blocks of 32 weight rows between threads.
type mulTask struct {
	l        *linear
	w        *worker
	rows     int
	unsigned bool
}

const blockRows = 32

func (t *mulTask) Do(lo, hi int) {
	n1 := min(hi*blockRows, t.l.n)
	t.l.Mul(t.w.acc, t.l.stride, t.w.q8, t.rows, lo*blockRows, n1, t.unsigned)
}

// Fewer multiplications than this are over before another thread has begun.
const parallelMACs = 1 << 20

// product computes w.acc [rows, N padded] from w.q8 [rows,K].
func (m *Model) product(w *worker, l *linear, rows int, unsigned bool) {
	if m.pool == nil || rows*l.n*l.k < parallelMACs {
		l.Mul(w.acc, l.stride, w.q8, rows, 0, l.n, unsigned)
		return
	}
	w.mul = mulTask{l, w, rows, unsigned}
	m.pool.Run(l.stride/blockRows, 1, &w.mul)
}

// forward sends rows through the model. Rows of one sequence come in ascending positions, for which the cache has room. It
// writes the logits of row r, if wanted, to logits[r.out·V:].
func (m *Model) forward(w *worker, c *cache, rows []row, logits []float32) {
	width := m.cfg.HiddenSize
	for i := range rows {
		m.lookup(w, w.x[i*width:][:width], &rows[i])
	}
	for i := range rows {
		m.normalize(w, i, w.x[i*width:][:width], m.layers[0].norm1, m.layers[0].norm1Bias)
	}
	for l := range m.layers {
		m.attention(w, c, l, rows)
		m.mlp(w, &m.layers[l], len(rows))
		for i := range rows {
			if l+1 < len(m.layers) {
				m.residualNorm(w, i, &m.layers[l].down, m.layers[l+1].norm1, m.layers[l+1].norm1Bias)
			} else {
				m.residual(w, i, &m.layers[l].down)
			}
		}
	}
	m.logits(w, rows, logits)
}

// lookup sets x = float32(q)·scale of the token's embedding, plus that of its position where positions are learned.
func (m *Model) lookup(w *worker, x []float32, r *row) {
	q := w.q8[:len(x)]
	m.embed.Row(q, int(r.token))
	vec.DequantizeRow(x, q, m.embed.scale[r.token])
	if m.pos.product != nil {
		m.pos.Row(q, r.pos)
		vec.DequantizeRow(w.h[:len(x)], q, m.pos.scale[r.pos])
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

// dequantize sets dst [N] to row i of w.acc in real numbers, plus the bias.
func dequantize(dst []float32, w *worker, i int, l *linear) {
	vec.ScaleInt32(dst, w.acc[i*l.stride:], w.scale[i], l.scale)
	if l.bias != nil {
		vec.Add(dst, dst, l.bias)
	}
}

// residual adds row i of w.acc in real numbers, with the bias, to row i of the stream.
func (m *Model) residual(w *worker, i int, l *linear) {
	width := m.cfg.HiddenSize
	x := w.x[i*width:][:width]
	if l.bias == nil {
		vec.AddScaleInt32(x, w.acc[i*l.stride:], w.scale[i], l.scale)
		return
	}
	dequantize(w.h[:width], w, i, l)
	vec.Add(x, x, w.h[:width])
}

// residualNorm is residual and then normalize of the sum.
func (m *Model) residualNorm(w *worker, i int, l *linear, gain, bias []float32) {
	width := m.cfg.HiddenSize
	x := w.x[i*width:][:width]
	if l.bias == nil && m.cfg.Norm == arch.NormRMS {
		w.scale[i] = edge.ResidualRMSNormQuantize(w.q8[i*width:][:width], w.h[:width], x, gain, m.cfg.NormEps, w.acc[i*l.stride:], w.scale[i], l.scale)
		return
	}
	m.residual(w, i, l)
	m.normalize(w, i, x, gain, bias)
}

// attention reads the normalised rows that w.q8 holds and leaves there those of the MLP.
func (m *Model) attention(w *worker, c *cache, li int, rows []row) {
	l := &m.layers[li]
	m.product(w, &l.qkv, len(rows), false)
	n, nq, nk := l.qkv.n, l.out.k, l.shape.KVHeads*l.shape.HeadDim
	for i := range rows {
		r := &rows[i]
		qkv := w.qkv[i*n:][:n]
		dequantize(qkv, w, i, &l.qkv)
		if l.queryNorm != nil {
			m.normHeads(qkv[:nq], l.queryNorm)
			m.normHeads(qkv[nq:][:nk], l.keyNorm)
		}
		if m.cos != nil {
			half := m.cfg.HeadDim / 2
			edge.RoPEHeads(qkv[:nq+nk], m.cfg.HeadDim, m.cos[r.pos*half:][:half], m.sin[r.pos*half:][:half])
		}
		page := c.tables[r.seq][r.pos/c.size]
		l.shape.StoreQS8(&c.pages[li][page], r.pos%c.size, qkv[nq:][:nk], qkv[nq+nk:], w.attn)
	}
	for i := range rows {
		r := &rows[i]
		l.shape.AttendQS8(w.heads[:nq], w.qkv[i*n:][:nq], c.pages[li], c.tables[r.seq], r.pos, w.attn)
		w.scale[i] = vec.QuantizeRow(w.q8[i*nq:][:nq], w.heads[:nq])
	}
	m.product(w, &l.out, len(rows), false)
	for i := range rows {
		m.residualNorm(w, i, &l.out, l.norm2, l.norm2Bias)
	}
}

// normHeads normalises each head.
func (m *Model) normHeads(x, gain []float32) {
	for d := m.cfg.HeadDim; len(x) > 0; x = x[d:] {
		vec.RMSNorm(x[:d], x[:d], gain, m.cfg.NormEps)
	}
}

// mlp reads the normalised rows that w.q8 holds and leaves the sums of the down projection in w.acc.
func (m *Model) mlp(w *worker, l *layer, rows int) {
	f := l.mlp
	m.product(w, &l.up, rows, false)
	for i := range rows {
		h, q := w.h[:l.up.n], w.q8[i*f:][:f]
		if m.cfg.Activation == arch.ActReLU2 && l.up.bias == nil {
			w.scale[i] = edge.ReLU2Quantize(q, h, w.acc[i*l.up.stride:], w.scale[i], l.up.scale)
			continue
		}
		dequantize(h, w, i, &l.up)
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
	m.product(w, &l.down, rows, m.unsignedMLP)
}

// logits computes the head for the rows that want it.
func (m *Model) logits(w *worker, rows []row, logits []float32) {
	width, v, n := m.cfg.HiddenSize, m.cfg.VocabSize, 0
	for i := range rows {
		if rows[i].out >= 0 {
			m.normalize(w, n, w.x[i*width:][:width], m.norm, m.normBias)
			n++
		}
	}
	if n == 0 {
		return
	}
	m.product(w, &m.head, n, false)
	n = 0
	for i := range rows {
		if rows[i].out >= 0 {
			dequantize(logits[rows[i].out*v:][:v], w, n, &m.head)
			n++
		}
	}
}
