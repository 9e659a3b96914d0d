package decode

import (
	"mito/engine/model"
	"mito/kernels/attn"
	"mito/kernels/vec"
)

// floatWorker holds the intermediate results of one thread for up to rows tokens.
type floatWorker struct {
	rows  int
	x     []float32 // [rows,C] the residual stream
	h     []float32 // [rows,C] normalised, and what a branch adds
	qkv   []float32 // [rows,(H+2G)·D]
	heads []float32 // [rows,H·D]
	up    []float32 // [rows,F], or gate and up [rows,2F]
	act   []float32 // [rows,F]
	out   []float32 // [rows,V]
	attn  *attn.ScratchF32
}

func newFloatWorker(r *float32Runtime, rows int) *floatWorker {
	c := &r.cfg
	make32 := func(n int) []float32 { return make([]float32, rows*n) }
	w := &floatWorker{
		rows: rows, x: make32(c.HiddenSize), h: make32(c.HiddenSize), qkv: make32((c.Heads + 2*c.KVHeads) * c.HeadDim),
		heads: make32(c.Heads * c.HeadDim), up: make32(r.layers[0].up.outputs()), act: make32(c.IntermediateSize),
		out: make32(c.VocabSize), attn: attn.NewScratchF32(&r.shape),
	}
	if c.Activation != model.ActSwiGLU {
		w.act = w.up // the activation runs in place
	}
	return w
}

// forward sends rows through the model. Rows of one sequence come in ascending positions. It writes the logits of row i,
// if wanted, to logits[rows[i].out·V:].
func (r *float32Runtime) forward(w *floatWorker, pages [][]*attn.PageF32, rows []floatRow, logits []float32) {
	c, n := r.cfg.HiddenSize, len(rows)
	for i := range rows {
		x, t := w.x[i*c:][:c], int(rows[i].token)
		copy(x, r.embed[t*c:][:c])
		if r.positions != nil {
			vec.Add(x, x, r.positions[rows[i].pos*c:][:c])
		}
	}
	for l := range r.layers {
		r.attention(w, pages, l, rows)
		r.mlp(w, &r.layers[l], n)
	}
	wanted := 0
	for i := range rows {
		if rows[i].out >= 0 {
			r.norm.apply(w.h[wanted*c:][:c], w.x[i*c:][:c])
			wanted++
		}
	}
	if wanted == 0 {
		return
	}
	v := r.cfg.VocabSize
	r.head.mul(w.out, w.h, wanted, r.pool)
	wanted = 0
	for i := range rows {
		if out := rows[i].out; out >= 0 {
			copy(logits[out*v:][:v], w.out[wanted*v:])
			wanted++
		}
	}
}

func (r *float32Runtime) attention(w *floatWorker, pages [][]*attn.PageF32, layer int, rows []floatRow) {
	l, c, n := &r.layers[layer], r.cfg.HiddenSize, len(rows)
	for i := range n {
		l.norm1.apply(w.h[i*c:][:c], w.x[i*c:])
	}
	l.qkv.mul(w.qkv, w.h, n, r.pool)
	q, kv := r.shape.Heads*r.shape.HeadDim, r.shape.KVHeads*r.shape.HeadDim
	wide := q + 2*kv
	for i := range rows {
		row, at := w.qkv[i*wide:][:wide], &rows[i]
		r.place(row[:q], l.queryNorm, at.pos)
		r.place(row[q:][:kv], l.keyNorm, at.pos)
		page := pages[at.seq][layer]
		r.shape.StoreF32(page, at.pos, row[q:], row[q+kv:])
		// Later rows of the sequence are stored after this: a row sees no more than it should.
		r.shape.AttendF32(w.heads[i*q:][:q], row[:q], page, at.pos, w.attn)
	}
	l.out.mul(w.h, w.heads, n, r.pool)
	vec.Add(w.x[:n*c], w.x, w.h)
}

// place normalises each head, where the model does, and turns it to its position.
func (r *float32Runtime) place(x, gain []float32, pos int) {
	d := r.cfg.HeadDim
	for ; len(x) > 0; x = x[d:] {
		if gain != nil {
			vec.RMSNorm(x[:d], x[:d], gain, r.cfg.NormEps)
		}
		if r.cos != nil {
			vec.RoPE(x[:d], r.cos[pos*(d/2):][:d/2], r.sin[pos*(d/2):][:d/2], false)
		}
	}
}

func (r *float32Runtime) mlp(w *floatWorker, l *floatLayer, n int) {
	c, f := r.cfg.HiddenSize, r.cfg.IntermediateSize
	for i := range n {
		l.norm2.apply(w.h[i*c:][:c], w.x[i*c:])
	}
	l.up.mul(w.up, w.h, n, r.pool)
	switch u := w.up[:n*f]; r.cfg.Activation {
	case model.ActReLU:
		vec.ReLU(u, u)
	case model.ActReLU2:
		vec.ReLU2(u, u)
	case model.ActGELU:
		vec.GELU(u, u)
	case model.ActSwiGLU:
		for i := range n {
			gate := w.up[2*i*f:][:2*f]
			vec.SwiGLU(w.act[i*f:][:f], gate[:f], gate[f:])
		}
	}
	l.down.mul(w.h, w.act, n, r.pool)
	vec.Add(w.x[:n*c], w.x, w.h)
}
