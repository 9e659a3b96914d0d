package student

import (
	"errors"
	"fmt"
)

// Matrix is an INT8 weight [Rows,Cols], row-major, in [-127,127]. Row r stands for Scale[r]·Q[r,:]. Bias [Rows] is nil for none.
type Matrix struct {
	Rows, Cols int
	Q          []int8
	Scale      []float32
	Bias       []float32
}

// Layer holds the weights of one decoder layer. Heads may differ from layer to layer (pruned heads): they are counted
// from the rows of Query and Key, as the MLP width is from the rows of Up.
type Layer struct {
	Norm1, Norm1Bias   []float32 // [C]; biases only with layernorm
	Query, Key, Value  Matrix    // [H·D,C], [G·D,C], [G·D,C]
	QueryNorm, KeyNorm []float32 // [D], only with QK-norm
	Output             Matrix    // [C,H·D]
	Norm2, Norm2Bias   []float32 // [C]
	Gate, Up, Down     Matrix    // [F,C] (Gate only with swiglu), [F,C], [C,F]
}

// Weights is the shipped model. No float copy of an INT8 matrix exists.
type Weights struct {
	Config         Config
	Embedding      Matrix // [V,C]; also the output head when tied
	Positions      Matrix // [Context,C], only with learned positions
	Layers         []Layer
	Norm, NormBias []float32 // [C]
	Head           Matrix    // [V,C], empty when tied
}

// Bytes returns the size of all weights: one byte an INT8 weight, four a scale, gain or bias.
func (w *Weights) Bytes() int {
	n := 0
	_ = w.Visit(func(_ string, m *Matrix, v *[]float32) error {
		if m != nil {
			n += len(m.Q) + 4*(len(m.Scale)+len(m.Bias))
		} else {
			n += 4 * len(*v)
		}
		return nil
	})
	return n
}

// Params returns the number of parameters: weights, gains and biases, without the scales.
func (w *Weights) Params() int {
	n := 0
	_ = w.Visit(func(_ string, m *Matrix, v *[]float32) error {
		if m != nil {
			n += len(m.Q) + len(m.Bias)
		} else {
			n += len(*v)
		}
		return nil
	})
	return n
}

// NewWeights returns zero weights with every shape of a configuration. Errors: *ConfigError.
func NewWeights(c Config) (*Weights, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	vector := func(n int, present bool) []float32 {
		if !present {
			return nil
		}
		return make([]float32, n)
	}
	matrix := func(rows, cols int, bias bool) Matrix {
		return Matrix{Rows: rows, Cols: cols, Q: make([]int8, rows*cols), Scale: make([]float32, rows), Bias: vector(rows, bias)}
	}
	width, ln := c.HiddenSize, c.Norm == NormLayer
	w := &Weights{Config: c, Embedding: matrix(c.VocabSize, width, false), Norm: vector(width, true), NormBias: vector(width, ln)}
	if c.Position == PositionLearned {
		w.Positions = matrix(c.Context, width, false)
	}
	if !c.TieEmbeddings {
		w.Head = matrix(c.VocabSize, width, false)
	}
	w.Layers = make([]Layer, c.Layers)
	for i := range w.Layers {
		w.Layers[i] = Layer{
			Norm1: vector(width, true), Norm1Bias: vector(width, ln), Norm2: vector(width, true), Norm2Bias: vector(width, ln),
			Query: matrix(c.Heads*c.HeadDim, width, c.AttentionBias), Key: matrix(c.KVHeads*c.HeadDim, width, c.AttentionBias),
			Value: matrix(c.KVHeads*c.HeadDim, width, c.AttentionBias), Output: matrix(width, c.Heads*c.HeadDim, c.AttentionBias),
			QueryNorm: vector(c.HeadDim, c.QKNorm), KeyNorm: vector(c.HeadDim, c.QKNorm),
			Up: matrix(c.IntermediateSize, width, c.MLPBias), Down: matrix(width, c.IntermediateSize, c.MLPBias),
		}
		if c.Activation == ActSwiGLU {
			w.Layers[i].Gate = matrix(c.IntermediateSize, width, c.MLPBias)
		}
	}
	return w, nil
}

// Visit calls f for every matrix with the name of its module (without .weight), and for every other vector that the
// configuration has with the name of its tensor, all as in a Hugging Face folder, in a fixed order. One of m and v is
// nil. Biases of matrices are part of the matrix. It returns the errors of f, joined.
func (w *Weights) Visit(f func(name string, m *Matrix, v *[]float32) error) error {
	var errs []error
	c := &w.Config
	mat := func(name string, m *Matrix) { errs = append(errs, f(name, m, nil)) }
	vector := func(name string, v *[]float32, present bool) {
		if present {
			errs = append(errs, f(name, nil, v))
		}
	}
	ln := c.Norm == NormLayer
	mat("model.embed_tokens", &w.Embedding)
	if c.Position == PositionLearned {
		mat("model.embed_positions", &w.Positions)
	}
	for i := range w.Layers {
		l, at := &w.Layers[i], fmt.Sprintf("model.layers.%d.", i)
		vector(at+"input_layernorm.weight", &l.Norm1, true)
		vector(at+"input_layernorm.bias", &l.Norm1Bias, ln)
		mat(at+"self_attn.q_proj", &l.Query)
		mat(at+"self_attn.k_proj", &l.Key)
		mat(at+"self_attn.v_proj", &l.Value)
		vector(at+"self_attn.q_norm.weight", &l.QueryNorm, c.QKNorm)
		vector(at+"self_attn.k_norm.weight", &l.KeyNorm, c.QKNorm)
		mat(at+"self_attn.o_proj", &l.Output)
		vector(at+"post_attention_layernorm.weight", &l.Norm2, true)
		vector(at+"post_attention_layernorm.bias", &l.Norm2Bias, ln)
		if c.Activation == ActSwiGLU {
			mat(at+"mlp.gate_proj", &l.Gate)
		}
		mat(at+"mlp.up_proj", &l.Up)
		mat(at+"mlp.down_proj", &l.Down)
	}
	vector("model.norm.weight", &w.Norm, true)
	vector("model.norm.bias", &w.NormBias, ln)
	if !c.TieEmbeddings {
		mat("lm_head", &w.Head)
	}
	return errors.Join(errs...)
}

// Validate checks the configuration, every shape and every value. Errors: *ConfigError, *WeightError (a *ShapeError,
// ErrMinus128 or ErrNotFinite).
func (w *Weights) Validate() error {
	c := &w.Config
	if err := c.Validate(); err != nil {
		return err
	}
	if len(w.Layers) != c.Layers {
		return &ConfigError{Field: "num_hidden_layers", Got: c.Layers, Want: fmt.Sprintf("%d, the number of layers given", len(w.Layers))}
	}
	k := checker{w: w}
	k.matrix("model.embed_tokens", &w.Embedding, c.VocabSize, c.HiddenSize, false)
	if c.Position == PositionLearned {
		k.matrix("model.embed_positions", &w.Positions, c.Context, c.HiddenSize, false)
	}
	for i := range w.Layers {
		k.layer(fmt.Sprintf("model.layers.%d.", i), &w.Layers[i])
	}
	k.norm("model.norm", w.Norm, w.NormBias)
	if !c.TieEmbeddings {
		k.matrix("lm_head", &w.Head, c.VocabSize, c.HiddenSize, false)
	} else if w.Head.Q != nil {
		k.fail("lm_head", errors.New("present although the embeddings are tied"))
	}
	return k.err
}

// checker keeps the first error.
type checker struct {
	w   *Weights
	err error
}

func (k *checker) fail(tensor string, err error) {
	if k.err == nil {
		k.err = &WeightError{Tensor: tensor, Err: err}
	}
}

func (k *checker) layer(at string, l *Layer) {
	c := &k.w.Config
	width, dim := c.HiddenSize, c.HeadDim
	// Pruned layers may have fewer heads and neurons than the configuration says, never more.
	heads, kv, mlp := l.Query.Rows/dim, l.Key.Rows/dim, l.Up.Rows
	if heads < 1 || heads > c.Heads {
		heads = c.Heads
	}
	if kv < 1 || kv > c.KVHeads || heads%kv != 0 {
		kv = c.KVHeads
	}
	if mlp < 1 || mlp > c.IntermediateSize {
		mlp = c.IntermediateSize
	}
	k.norm(at+"input_layernorm", l.Norm1, l.Norm1Bias)
	k.matrix(at+"self_attn.q_proj", &l.Query, heads*dim, width, c.AttentionBias)
	k.matrix(at+"self_attn.k_proj", &l.Key, kv*dim, width, c.AttentionBias)
	k.matrix(at+"self_attn.v_proj", &l.Value, kv*dim, width, c.AttentionBias)
	k.matrix(at+"self_attn.o_proj", &l.Output, width, heads*dim, c.AttentionBias)
	if heads%kv != 0 {
		k.fail(at+"self_attn.k_proj", fmt.Errorf("%d key/value heads do not divide %d heads", kv, heads))
	}
	if c.QKNorm {
		k.vector(at+"self_attn.q_norm.weight", l.QueryNorm, dim)
		k.vector(at+"self_attn.k_norm.weight", l.KeyNorm, dim)
	} else if l.QueryNorm != nil || l.KeyNorm != nil {
		k.fail(at+"self_attn.q_norm.weight", errors.New("present although qk_norm is false"))
	}
	k.norm(at+"post_attention_layernorm", l.Norm2, l.Norm2Bias)
	if c.Activation == ActSwiGLU {
		k.matrix(at+"mlp.gate_proj", &l.Gate, mlp, width, c.MLPBias)
	}
	k.matrix(at+"mlp.up_proj", &l.Up, mlp, width, c.MLPBias)
	k.matrix(at+"mlp.down_proj", &l.Down, width, mlp, c.MLPBias)
}

func (k *checker) norm(name string, gain, bias []float32) {
	k.vector(name+".weight", gain, k.w.Config.HiddenSize)
	if k.w.Config.Norm == NormLayer {
		k.vector(name+".bias", bias, k.w.Config.HiddenSize)
	} else if bias != nil {
		k.fail(name+".bias", errors.New("present although rmsnorm has none"))
	}
}

func (k *checker) vector(name string, v []float32, n int) {
	if len(v) != n {
		k.fail(name, &ShapeError{Got: []int{len(v)}, Want: []int{n}})
		return
	}
	for i, x := range v {
		if !finite(x) {
			k.fail(name, fmt.Errorf("element %d is %v: %w", i, x, ErrNotFinite))
			return
		}
	}
}

func (k *checker) matrix(name string, m *Matrix, rows, cols int, bias bool) {
	if m.Rows != rows || m.Cols != cols {
		k.fail(name+".weight", &ShapeError{Got: []int{m.Rows, m.Cols}, Want: []int{rows, cols}})
		return
	}
	if len(m.Q) != rows*cols {
		k.fail(name+".weight", &ShapeError{Got: []int{len(m.Q)}, Want: []int{rows * cols}})
		return
	}
	for i, q := range m.Q {
		if q == -128 {
			k.fail(name+".weight", fmt.Errorf("element [%d,%d]: %w", i/cols, i%cols, ErrMinus128))
			return
		}
	}
	k.vector(name+".weight_scale", m.Scale, rows)
	for i, s := range m.Scale {
		if s < 0 {
			k.fail(name+".weight_scale", fmt.Errorf("element %d is %v, want 0 or more", i, s))
			return
		}
	}
	if bias {
		k.vector(name+".bias", m.Bias, rows)
	} else if m.Bias != nil {
		k.fail(name+".bias", errors.New("present although the configuration has none"))
	}
}

func finite(x float32) bool { return x-x == 0 }
