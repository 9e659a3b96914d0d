package student

import (
	"mito/kernels/attn"
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
	n1 := min(hi*blockRows, t.l.N())
	t.l.Mul(t.w.acc, t.l.PaddedN(), t.w.q8, t.rows, lo*blockRows, n1, t.unsigned)
}

// Fewer multiplications than this are over before another thread has begun.
const parallelMACs = 1 << 20

// product computes w.acc [rows, N padded] from w.q8 [rows,K].
func (m *Model) product(w *worker, l *linear, rows int, unsigned bool) {
	w.mul = mulTask{l, w, rows, unsigned}
	blocks := l.PaddedN() / blockRows
	if m.pool == nil || rows*l.N()*l.K() < parallelMACs {
		w.mul.Do(0, blocks)
		return
	}
	m.pool.Run(blocks, 1, &w.mul)
}

// forward sends rows through the model. Rows of one sequence come in ascending positions, for which the cache has room. It
// writes the logits of row r, if wanted, to logits[r.out·V:].
func (m *Model) forward(w *worker, c *cache, rows []row, logits []float32) {
	width := m.cfg.HiddenSize
	for i := range rows {
		m.lookup(w, w.x[i*width:][:width], &rows[i])
	}
	for l := range m.layers {
		m.attention(w, c, l, rows)
		m.mlp(w, &m.layers[l], len(rows))
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
	h := w.h[:width]
	if m.cfg.Norm == NormLayer {
		vec.LayerNorm(h, from, gain, bias, m.cfg.NormEps)
	} else {
		vec.RMSNorm(h, from, gain, m.cfg.NormEps)
	}
	w.scale[i] = vec.QuantizeRow(w.q8[i*width:][:width], h)
}

// dequantize sets dst [N] to row i of w.acc in real numbers, plus the bias.
func dequantize(dst []float32, w *worker, i int, l *linear) {
	vec.ScaleInt32(dst, w.acc[i*l.PaddedN():], w.scale[i], l.scale)
	if l.bias != nil {
		vec.Add(dst, dst, l.bias)
	}
}

// residual adds row i of w.acc in real numbers, with the bias, to row i of the stream.
func (m *Model) residual(w *worker, i int, l *linear) {
	width := m.cfg.HiddenSize
	x := w.x[i*width:][:width]
	if l.bias == nil {
		vec.AddScaleInt32(x, w.acc[i*l.PaddedN():], w.scale[i], l.scale)
		return
	}
	dequantize(w.h[:width], w, i, l)
	vec.Add(x, x, w.h[:width])
}

func (m *Model) attention(w *worker, c *cache, li int, rows []row) {
	l, width := &m.layers[li], m.cfg.HiddenSize
	for i := range rows {
		m.normalize(w, i, w.x[i*width:][:width], l.norm1, l.norm1Bias)
	}
	m.product(w, &l.qkv, len(rows), false)
	n, nq, nk := l.qkv.N(), l.out.K(), l.shape.KVHeads*l.shape.HeadDim
	for i := range rows {
		r := &rows[i]
		qkv := w.qkv[i*n:][:n]
		dequantize(qkv, w, i, &l.qkv)
		m.place(qkv[:nq], l.queryNorm, r.pos)
		m.place(qkv[nq:][:nk], l.keyNorm, r.pos)
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
		m.residual(w, i, &l.out)
	}
}

// place normalises each head, where the model does, and turns it to its position.
func (m *Model) place(x, gain []float32, pos int) {
	d := m.cfg.HeadDim
	for ; len(x) > 0; x = x[d:] {
		if gain != nil {
			vec.RMSNorm(x[:d], x[:d], gain, m.cfg.NormEps)
		}
		if m.cos != nil {
			vec.RoPE(x[:d], m.cos[pos*(d/2):][:d/2], m.sin[pos*(d/2):][:d/2], false)
		}
	}
}

func (m *Model) mlp(w *worker, l *layer, rows int) {
	width, f := m.cfg.HiddenSize, l.mlp
	for i := range rows {
		m.normalize(w, i, w.x[i*width:][:width], l.norm2, l.norm2Bias)
	}
	m.product(w, &l.up, rows, false)
	for i := range rows {
		h := w.h[:l.up.N()]
		dequantize(h, w, i, &l.up)
		switch m.cfg.Activation {
		case ActReLU:
			vec.ReLU(h, h)
		case ActReLU2:
			vec.ReLU2(h, h)
		case ActGELU:
			vec.GELU(h, h)
		case ActSwiGLU:
			vec.SwiGLU(h[:f], h[:f], h[f:])
		}
		w.scale[i] = vec.QuantizeRow(w.q8[i*f:][:f], h[:f])
	}
	m.product(w, &l.down, rows, m.unsignedMLP)
	for i := range rows {
		m.residual(w, i, &l.down)
	}
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
