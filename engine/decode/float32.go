package decode

import (
	"fmt"
	"math"

	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/parallel"
	"mito/kernels/vec"
)

// float32Runtime is a model of engine/model packed for decoding.
type float32Runtime struct {
	cfg       model.Config
	params    int
	tok       tokenizer.Tokenizer
	embed     []float32 // [V,C]
	positions []float32 // [context,C], nil without learned positions
	layers    []floatLayer
	norm      floatNorm
	head      floatLinear
	cos, sin  []float32 // [context,D/2], nil without RoPE
	shape     attn.DecodeShape
	pool      *parallel.Pool
}

// floatLinear is y = x·Wᵀ + b. Matrices that read the same input are one, their rows behind each other.
type floatLinear struct {
	w    *gemm.Packed
	bias []float32 // nil for none
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
}

// NewFloat32 makes a runtime of float32 weights, which must not change afterwards; tok may be nil. Errors:
// *model.ConfigError, *VocabularyError, *TensorError.
func NewFloat32(w *model.Weights, tok tokenizer.Tokenizer, o Options) (Runtime, error) {
	c := w.Config
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkVocabulary(tok, c.VocabSize); err != nil {
		return nil, err
	}
	l := floatLoader{tensors: w.Tensors, cfg: c}
	r := &float32Runtime{cfg: c, tok: tok, norm: l.norm("model.norm")}
	r.shape = attn.DecodeShape{
		Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: c.Window, PageSize: c.Context,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim))),
	}
	r.embed = l.take("model.embed_tokens.weight", c.VocabSize*c.HiddenSize)
	if c.Position == model.PositionLearned {
		r.positions = l.take("model.embed_positions.weight", c.Context*c.HiddenSize)
	} else {
		r.cos, r.sin = c.RoPETables()
	}
	head := r.embed
	if !c.TieEmbeddings {
		head = l.take("lm_head.weight", c.VocabSize*c.HiddenSize)
	}
	for i := range c.Layers {
		r.layers = append(r.layers, l.layer(fmt.Sprintf("model.layers.%d.", i)))
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
	return fmt.Sprintf("decode: %s has %d elements, want %d", e.Name, e.Got, e.Want)
}

// floatLoader takes tensors by name and keeps the first error.
type floatLoader struct {
	tensors map[string][]float32
	cfg     model.Config
	params  int
	err     error
}

func (l *floatLoader) take(name string, n int) []float32 {
	t := l.tensors[name]
	if len(t) != n && l.err == nil {
		l.err = &TensorError{Name: name, Got: len(t), Want: n}
	}
	l.params += n
	return t
}

func (l *floatLoader) norm(name string) floatNorm {
	n := floatNorm{gain: l.take(name+".weight", l.cfg.HiddenSize), layer: l.cfg.Norm == model.NormLayer, eps: l.cfg.NormEps}
	if n.layer {
		n.bias = l.take(name+".bias", l.cfg.HiddenSize)
	}
	return n
}

// linear stacks the rows of matrices that read the same k inputs.
func (l *floatLoader) linear(k int, bias bool, parts ...floatPart) floatLinear {
	var w, b []float32
	rows := 0
	for _, p := range parts {
		part := l.take(p.name+".weight", p.rows*k)
		if len(parts) == 1 {
			w = part
		} else {
			w = append(w, part...)
		}
		if bias {
			b = append(b, l.take(p.name+".bias", p.rows)...)
		}
		rows += p.rows
	}
	if l.err != nil {
		return floatLinear{}
	}
	return floatLinear{w: gemm.Pack(w, rows, k), bias: b}
}

type floatPart struct {
	name string
	rows int
}

func (l *floatLoader) layer(at string) floatLayer {
	c := l.cfg
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	layer := floatLayer{
		norm1: l.norm(at + "input_layernorm"),
		qkv: l.linear(c.HiddenSize, c.AttentionBias,
			floatPart{at + "self_attn.q_proj", q}, floatPart{at + "self_attn.k_proj", kv}, floatPart{at + "self_attn.v_proj", kv}),
		out:   l.linear(q, c.AttentionBias, floatPart{at + "self_attn.o_proj", c.HiddenSize}),
		norm2: l.norm(at + "post_attention_layernorm"),
		down:  l.linear(c.IntermediateSize, c.MLPBias, floatPart{at + "mlp.down_proj", c.HiddenSize}),
	}
	if c.QKNorm {
		layer.queryNorm = l.take(at+"self_attn.q_norm.weight", c.HeadDim)
		layer.keyNorm = l.take(at+"self_attn.k_norm.weight", c.HeadDim)
	}
	up := floatPart{at + "mlp.up_proj", c.IntermediateSize}
	if c.Activation == model.ActSwiGLU {
		layer.up = l.linear(c.HiddenSize, c.MLPBias, floatPart{at + "mlp.gate_proj", c.IntermediateSize}, up)
	} else {
		layer.up = l.linear(c.HiddenSize, c.MLPBias, up)
	}
	return layer
}

func (r *float32Runtime) Kind() string                   { return Float32 }
func (r *float32Runtime) VocabSize() int                 { return r.cfg.VocabSize }
func (r *float32Runtime) Context() int                   { return r.cfg.Context }
func (r *float32Runtime) Params() int                    { return r.params }
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
	return fmt.Sprintf("decode: a session of %d sequences needs a cache of %d MiB a sequence, at most %d MiB in all; use a smaller batch",
		e.Batch, e.Bytes>>20, int64(maxCacheBytes)>>20)
}

func (r *float32Runtime) NewSession(batch int) (Session, error) {
	if batch < 1 {
		return nil, fmt.Errorf("decode: a session of %d sequences, want 1 or more: %w", batch, student.ErrSequence)
	}
	per := int64(r.shape.BytesF32()) * int64(r.cfg.Layers)
	if per > maxCacheBytes/int64(batch) {
		return nil, &CacheError{Batch: batch, Bytes: per}
	}
	return newFloatSession(r, batch), nil
}
