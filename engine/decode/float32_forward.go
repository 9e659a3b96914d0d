package decode

import (
	"mito/engine/arch"
	"mito/engine/session"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/vec"
)

// floatWorker holds the intermediate results of one thread for up to rows tokens. Rows of what a product writes lie
// padded apart.
type floatWorker struct {
	r     *float32Runtime
	x     []float32 // [rows,C] the residual stream
	h     []float32 // [rows,C] normalised, and what a branch adds
	qkv   []float32 // [rows,(H+2G)·D]
	heads []float32 // [rows,H·D]
	up    []float32 // [rows,F], or gate and up [rows,2F]
	ple   []float32 // [rows,E] the gate of per-layer embeddings, then times the tokens' rows
	out   []float32 // [rows,V] of as many rows as have wanted logits at once
	attn  *attn.ScratchF32
	mul   *gemm.Scratch
	low   []float32 // what adapters keep of one row

	cache  *floatCache // these and the rest are of the rows under way
	rows   []session.Row
	logits []float32

	cos, sin []float32 // of all positions of these rows
}

// floatCache is where a session's sequences keep their keys and values.
type floatCache = session.Cache[attn.PageF32]

// firstPositions have room in a worker's scratch at once, which grows.
const firstPositions = 1024

func newFloatWorker(r *float32Runtime, rows int) *floatWorker {
	c := &r.cfg
	buffer := func(n int) []float32 { return make([]float32, rows*padded(n)) }
	var qkv, up, low int
	widest := r.layers[0].shape // the one with the most heads needs the largest scratch
	for i := range r.layers {
		l := &r.layers[i]
		qkv, up = max(qkv, l.qkv.stride()), max(up, l.up.stride())
		for _, x := range l.linears() {
			low = max(low, x.adapt.Ranks())
		}
		if l.shape.Heads > widest.Heads {
			widest = l.shape
		}
	}
	return &floatWorker{
		r: r, x: buffer(c.HiddenSize), h: buffer(c.HiddenSize), qkv: make([]float32, rows*qkv),
		heads: buffer(c.Heads * c.HeadDim), up: make([]float32, rows*up), ple: buffer(c.PLEDim),
		attn: attn.NewScratchF32(&widest, min(c.Context, firstPositions)), mul: gemm.NewScratch(), low: make([]float32, low),
	}
}

// Begin implements session.Worker.
func (w *floatWorker) Begin(cache *floatCache, rows []session.Row, logits []float32) {
	r := w.r
	w.cache, w.rows, w.logits = cache, rows, logits
	if r.rotary != nil {
		last := 0
		for i := range rows {
			last = max(last, rows[i].Pos)
		}
		w.cos, w.sin = r.rotary.UpTo(last + 1)
	}
	c, ld := r.cfg.HiddenSize, padded(r.cfg.HiddenSize)
	for i := range rows {
		x, t := w.x[i*ld:][:c], int(rows[i].Token)
		copy(x, r.embed[t*c:][:c])
		if r.positions != nil {
			vec.Add(x, x, r.positions[rows[i].Pos*c:][:c])
		}
	}
	r.store(w, 0)
}

// Layer implements session.Worker.
func (w *floatWorker) Layer(i int) {
	w.r.attention(w, i)
	w.r.mlp(w, i)
	if i+1 < len(w.r.layers) {
		w.r.store(w, i+1)
	} else {
		w.r.writeLogits(w)
	}
}

// writeLogits computes the head for the rows that want it.
func (r *float32Runtime) writeLogits(w *floatWorker) {
	rows, c, ld, wanted := w.rows, r.cfg.HiddenSize, padded(r.cfg.HiddenSize), 0
	for i := range rows {
		if rows[i].Out >= 0 {
			r.norm.apply(w.h[wanted*ld:][:c], w.x[i*ld:])
			wanted++
		}
	}
	if wanted == 0 {
		return
	}
	r.observe(len(r.layers), arch.NormedHead, w.h, ld, wanted, c)
	if need := wanted * r.head.stride(); len(w.out) < need {
		w.out = make([]float32, need)
	}
	r.head.mul(w, w.out, w.h, ld, wanted, r.pool)
	v, next := r.cfg.VocabSize, 0
	for i := range rows {
		if out := rows[i].Out; out >= 0 {
			copy(w.logits[out*v:][:v], w.out[next*padded(v):])
			next++
		}
	}
}

// store leaves the queries of a layer in w.qkv and stores the keys and values.
func (r *float32Runtime) store(w *floatWorker, layer int) {
	l, rows, c, ld := &r.layers[layer], w.rows, r.cfg.HiddenSize, padded(r.cfg.HiddenSize)
	for i := range rows {
		l.norm1.apply(w.h[i*ld:][:c], w.x[i*ld:])
	}
	r.observe(layer, arch.NormedAttn, w.h, ld, len(rows), c)
	l.qkv.mul(w, w.qkv, w.h, ld, len(rows), r.pool)
	q, kv, wide := l.shape.Heads*l.shape.HeadDim, l.shape.KVHeads*l.shape.HeadDim, l.qkv.stride()
	pages := w.cache.Layer(layer)
	for i := range rows {
		row, at := w.qkv[i*wide:][:wide], &rows[i]
		r.place(w, row[:q], l.queryNorm, at.Pos)
		r.place(w, row[q:][:kv], l.keyNorm, at.Pos)
		l.shape.StoreF32(&pages[w.cache.Table(at.Seq)[at.Pos/r.page]], at.Pos%r.page, row[q:], row[q+kv:])
	}
}

// attention reads the queries that store has left and adds what they find to the residual stream.
func (r *float32Runtime) attention(w *floatWorker, layer int) {
	l, rows, ld := &r.layers[layer], w.rows, padded(r.cfg.HiddenSize)
	q, wide, pages := l.shape.Heads*l.shape.HeadDim, l.qkv.stride(), w.cache.Layer(layer)
	for i := range rows {
		at := &rows[i]
		l.shape.AttendF32(w.heads[i*q:][:q], w.qkv[i*wide:][:q], pages, w.cache.Table(at.Seq), at.Pos, w.attn)
	}
	r.observe(layer, arch.Attended, w.heads, q, len(rows), q)
	l.out.mul(w, w.h, w.heads, q, len(rows), r.pool)
	vec.Add(w.x[:len(rows)*ld], w.x, w.h)
}

// place normalises each head, where the model does, and turns it to its position.
func (r *float32Runtime) place(w *floatWorker, x, gain []float32, pos int) {
	d := r.cfg.HeadDim
	for ; len(x) > 0; x = x[d:] {
		if gain != nil {
			vec.RMSNorm(x[:d], x[:d], gain, r.cfg.NormEps)
		}
		if r.rotary != nil {
			vec.RoPE(x[:d], w.cos[pos*(d/2):][:d/2], w.sin[pos*(d/2):][:d/2], false)
		}
	}
}

func (r *float32Runtime) mlp(w *floatWorker, layer int) {
	l, rows := &r.layers[layer], len(w.rows)
	c, ld, f, wide := r.cfg.HiddenSize, padded(r.cfg.HiddenSize), l.mlp, l.up.stride()
	for i := range rows {
		l.norm2.apply(w.h[i*ld:][:c], w.x[i*ld:])
	}
	r.observe(layer, arch.NormedMLP, w.h, ld, rows, c)
	e, apart := r.cfg.PLEDim, padded(r.cfg.PLEDim)
	if l.ple != nil {
		l.ple.gate.mul(w, w.ple, w.h, ld, rows, r.pool)
		for i := range w.rows {
			row := w.ple[i*apart:][:e]
			vec.Mul(row, row, l.ple.table[int(w.rows[i].Token)*e:][:e])
		}
	}
	l.up.mul(w, w.up, w.h, ld, rows, r.pool)
	for i := range rows {
		row := w.up[i*wide:][:wide]
		switch u := row[:f]; r.cfg.Activation {
		case arch.ActReLU:
			vec.ReLU(u, u)
		case arch.ActReLU2:
			vec.ReLU2(u, u)
		case arch.ActGELU:
			vec.GELU(u, u)
		case arch.ActSwiGLU:
			vec.SwiGLU(u, u, row[f:])
		}
	}
	r.observe(layer, arch.HiddenMLP, w.up, wide, rows, f)
	l.down.mul(w, w.h, w.up, wide, rows, r.pool)
	vec.Add(w.x[:rows*ld], w.x, w.h)
	if l.ple != nil {
		r.observe(layer, arch.GatedPLE, w.ple, apart, rows, e)
		l.ple.out.mul(w, w.h, w.ple, apart, rows, r.pool)
		vec.Add(w.x[:rows*ld], w.x, w.h)
	}
}
