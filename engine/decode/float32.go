package decode

import (
	"fmt"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/session"
	"mito/engine/session/adapters"
	"mito/engine/tokenizer"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/parallel"
	"mito/kernels/vec"
)

// float32Runtime is a model of engine/model packed for decoding.
type float32Runtime struct {
	cfg       arch.Config
	params    int
	tok       tokenizer.Tokenizer
	embed     []float32 // [V,C]
	positions []float32 // [context,C], nil without learned positions
	layers    []floatLayer
	norm      floatNorm
	head      floatLinear
	rotary    *session.Rotary // nil without RoPE
	page      int             // positions in a page of the cache
	observer  Observer        // nil for none
	adapters  []string        // their names
	pool      *parallel.Pool
}

// floatLinear is y = x·Wᵀ + b. Matrices that read the same input are one, their rows behind each other.
type floatLinear struct {
	w     *gemm.Packed
	bias  []float32       // nil for none
	adapt *adapters.Stack // nil for none
}

// stride is the distance between rows of outputs: N rounded up to what the kernels write.
func (l *floatLinear) stride() int {
	n, _ := l.w.Shape()
	return padded(n)
}

func padded(n int) int { return (n + gemm.PanelCols - 1) / gemm.PanelCols * gemm.PanelCols }

// mul computes y [rows,N] from x [rows,K], whose rows lie stride and ldx apart.
func (l *floatLinear) mul(w *floatWorker, y, x []float32, ldx, rows int, p *parallel.Pool) {
	ldy := l.stride()
	l.w.MulPadded(w.mul, y, ldy, x, ldx, rows, p)
	if l.bias != nil {
		n := len(l.bias)
		for r := range rows {
			vec.Add(y[r*ldy:][:n], y[r*ldy:], l.bias)
		}
	}
	if l.adapt == nil {
		return
	}
	_, k := l.w.Shape()
	for r := range rows {
		l.adapt.Down(w.low, x[r*ldx:][:k], w.rows[r].Adapter)
		l.adapt.Up(y[r*ldy:], w.low, w.rows[r].Adapter)
	}
}

type floatNorm struct {
	gain, bias []float32 // [C]; bias only with LayerNorm
	layer      bool
	eps        float32
}

func (n *floatNorm) apply(y, x []float32) {
	if n.layer {
		vec.LayerNorm(y, x, n.gain, n.bias, n.eps)
	} else {
		vec.RMSNorm(y, x, n.gain, n.eps)
	}
}

type floatLayer struct {
	norm1, norm2       floatNorm
	queryNorm, keyNorm []float32   // [D], nil without QK-norm
	qkv                floatLinear // [(H+2G)·D,C]
	out                floatLinear // [C,H·D]
	up                 floatLinear // [F,C], below the gate [F,C] with SwiGLU
	down               floatLinear // [C,F]
	mlp                int         // F
	ple                *floatPerLayer
	shape              attn.DecodeShape
}

// floatPerLayer are per-layer embeddings: what the layer adds behind the MLP.
type floatPerLayer struct {
	table     []float32   // [V,E]
	gate, out floatLinear // [E,C], [C,E]
}

// linears are the products of a layer.
func (l *floatLayer) linears() []*floatLinear {
	list := []*floatLinear{&l.qkv, &l.out, &l.up, &l.down}
	if l.ple != nil {
		list = append(list, &l.ple.gate, &l.ple.out)
	}
	return list
}

// defaultPage is the number of positions in a page of the float32 cache: enough that attention over pages costs what it does
// over one.
const defaultPage = 256

// NewFloat32 makes a runtime of float32 weights, which must not change afterwards; tok may be nil. Errors:
// *arch.FieldError, *VocabularyError, *TensorError.
func NewFloat32(w *model.Weights, tok tokenizer.Tokenizer, o Options) (Runtime, error) {
	c := w.Config
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkVocabulary(tok, c.VocabSize); err != nil {
		return nil, err
	}
	if err := adapters.Check(o.Adapters, c); err != nil {
		return nil, err
	}
	page := o.PageSize
	if page < 1 {
		page = defaultPage
	}
	page = min(page, padded(c.Context))
	l := floatLoader{tensors: w.Tensors, cfg: c, modules: c.Index(), page: page, adapters: o.Adapters}
	r := &float32Runtime{cfg: c, tok: tok, norm: l.norm(-1, arch.FinalNorm), page: page, observer: o.Observer, adapters: adapters.Names(o.Adapters)}
	r.embed, r.positions = l.table(-1, arch.Embedding), l.table(-1, arch.Positions)
	if c.Position == arch.PositionRoPE {
		r.rotary = session.NewRotary(c.Context, func(positions int) (cos, sin []float32) {
			first := c
			first.Context = positions
			return model.RoPETables(first)
		})
	}
	head := l.table(-1, arch.Head)
	if head == nil {
		head = r.embed
	}
	for i := range c.Layers {
		r.layers = append(r.layers, l.layer(i))
	}
	if l.err != nil {
		return nil, l.err
	}
	r.params = l.params
	r.head = floatLinear{w: gemm.Pack(head, c.VocabSize, c.HiddenSize)}
	if o.Threads > 1 {
		r.pool = parallel.New(o.Threads)
	}
	return r, nil
}

// TensorError reports a tensor of float32 weights that is missing or has the wrong size.
type TensorError struct {
	Name      string
	Got, Want int // elements
}

func (e *TensorError) Error() string {
	return fmt.Sprintf("%s has %d elements, want %d", e.Name, e.Got, e.Want)
}

// floatLoader takes tensors by module and keeps the first error.
type floatLoader struct {
	tensors  map[string][]float32
	cfg      arch.Config
	modules  arch.Index
	adapters []adapters.Adapter
	page     int
	params   int
	err      error
}

func (l *floatLoader) take(t arch.Tensor) []float32 {
	n, x := int(t.Size()), l.tensors[t.Name]
	if len(x) != n && l.err == nil {
		l.err = &TensorError{Name: t.Name, Got: len(x), Want: n}
	}
	l.params += n
	return x
}

// table takes the weight or gain of a module, nil where the model has none.
func (l *floatLoader) table(layer int, p arch.Part) []float32 {
	m, ok := l.modules[arch.Place{Layer: layer, Part: p}]
	if !ok {
		return nil
	}
	return l.take(m.Weight())
}

func (l *floatLoader) norm(layer int, p arch.Part) floatNorm {
	m := l.modules[arch.Place{Layer: layer, Part: p}]
	n := floatNorm{gain: l.take(m.Weight()), layer: l.cfg.Norm == arch.NormLayer, eps: l.cfg.NormEps}
	if m.Bias {
		n.bias = l.take(m.BiasTensor())
	}
	return n
}

// linear stacks the rows of those matrices that the layer has; they read the same input.
func (l *floatLoader) linear(layer int, parts ...arch.Part) floatLinear {
	var list []arch.Module
	rows := 0
	for _, p := range parts {
		if m, ok := l.modules[arch.Place{Layer: layer, Part: p}]; ok {
			list = append(list, m)
			rows += m.Rows
		}
	}
	var w, b []float32
	for _, m := range list {
		part := l.take(m.Weight())
		if len(list) == 1 {
			w = part
		} else {
			w = append(w, part...)
		}
		if m.Bias {
			b = append(b, l.take(m.BiasTensor())...)
		}
	}
	if l.err != nil {
		return floatLinear{}
	}
	return floatLinear{w: gemm.Pack(w, rows, list[0].Cols), bias: b, adapt: adapters.NewStack(l.adapters, list...)}
}

func (l *floatLoader) layer(i int) floatLayer {
	c, shape := &l.cfg, l.cfg.Layer(i)
	return floatLayer{
		norm1: l.norm(i, arch.Norm1), norm2: l.norm(i, arch.Norm2),
		queryNorm: l.table(i, arch.QueryNorm), keyNorm: l.table(i, arch.KeyNorm),
		qkv: l.linear(i, arch.Query, arch.Key, arch.Value), out: l.linear(i, arch.Output),
		up: l.linear(i, arch.Gate, arch.Up), down: l.linear(i, arch.Down), mlp: shape.IntermediateSize, ple: l.perLayer(i),
		shape: attn.DecodeShape{
			Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: c.HeadDim, Window: shape.Window, PageSize: l.page, Scale: shape.Scale,
		},
	}
}

// perLayer takes the per-layer embeddings of a layer, nil where the model has none.
func (l *floatLoader) perLayer(i int) *floatPerLayer {
	if l.cfg.PLEDim == 0 {
		return nil
	}
	return &floatPerLayer{table: l.table(i, arch.PLETable), gate: l.linear(i, arch.PLEGate), out: l.linear(i, arch.PLEOut)}
}

func (r *float32Runtime) Kind() string                   { return Float32 }
func (r *float32Runtime) VocabSize() int                 { return r.cfg.VocabSize }
func (r *float32Runtime) Context() int                   { return r.cfg.Context }
func (r *float32Runtime) Params() int                    { return r.params }
func (r *float32Runtime) Config() arch.Config            { return r.cfg.Shipped() }
func (r *float32Runtime) Bytes() int                     { return 4 * r.params }
func (r *float32Runtime) Threads() int                   { return r.pool.Threads() }
func (r *float32Runtime) Tokenizer() tokenizer.Tokenizer { return r.tok }

func (r *float32Runtime) Run(n, grain int, t parallel.Task) { r.pool.Run(n, grain, t) }

func (r *float32Runtime) Close() error {
	r.pool.Close()
	return nil
}

// maxCacheBytes bounds the key/value cache of a session: sizes beyond it come from a mistake.
const maxCacheBytes = 1 << 38

// CacheError reports a session whose key/value cache would be too large.
type CacheError struct {
	Batch int
	Bytes int64 // of one sequence
}

func (e *CacheError) Error() string {
	return fmt.Sprintf("a session of %d sequences needs a cache of %d MiB a sequence, at most %d MiB in all; use a smaller batch",
		e.Batch, e.Bytes>>20, int64(maxCacheBytes)>>20)
}

func (r *float32Runtime) CacheBytes(tokens int) (bytes, page int) {
	pages := session.PagesOf(tokens, r.page, r.cfg.WidestWindow())
	for i := range r.layers {
		bytes += pages * r.layers[i].shape.BytesF32()
	}
	return bytes, r.page
}

func (r *float32Runtime) NewSession(batch int) (Session, error) {
	per, pages := int64(0), (r.cfg.Context+r.page-1)/r.page
	for i := range r.layers {
		per += int64(pages) * int64(r.layers[i].shape.BytesF32())
	}
	if batch > 0 && per > maxCacheBytes/int64(batch) {
		return nil, &CacheError{Batch: batch, Bytes: per}
	}
	pool := r.pool
	if r.observer != nil {
		pool = nil // an observer sees the tokens of a sequence in their order
	}
	s, err := session.New(session.Model[attn.PageF32]{
		Vocab: r.cfg.VocabSize, Context: r.cfg.Context, Pool: pool, Adapters: r.adapters,
		NewWorker: func(rows int) session.Worker[attn.PageF32] { return newFloatWorker(r, rows) },
		Pages: session.Pages[attn.PageF32]{
			Layers: len(r.layers), Size: r.page, Window: r.cfg.WidestWindow(), Copy: (*attn.PageF32).CopyFrom, Bytes: (*attn.PageF32).Bytes,
			Make: func(layer, n int) []attn.PageF32 { return attn.NewPagesF32(n, &r.layers[layer].shape) },
		},
	}, batch)
	if err != nil {
		return nil, err
	}
	return s, nil
}
