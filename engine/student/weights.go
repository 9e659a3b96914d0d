package student

import (
	"errors"
	"fmt"

	"mito/engine/arch"
)

// Matrix is an INT8 weight [Rows,Cols], row-major, in [-127,127]. Row r stands for Scale[r]·Q[r,:]. Bias [Rows] is nil for none.
type Matrix struct {
	Rows, Cols int
	Q          []int8
	Scale      []float32
	Bias       []float32
}

// MinMagnitude is the least that a scale, a gain or a bias may be, unless it is 0. Nothing that is computed from such numbers
// depends on what a processor does with denormals.
const MinMagnitude = 0x1p-62

// Layer holds the weights of one decoder layer; H, G and F are those of arch.Config.Layer.
type Layer struct {
	Norm1, Norm1Bias   []float32 // [C]; biases only with layernorm
	Query, Key, Value  Matrix    // [H·D,C], [G·D,C], [G·D,C]
	QueryNorm, KeyNorm []float32 // [D], only with QK-norm
	Output             Matrix    // [C,H·D]
	Norm2, Norm2Bias   []float32 // [C]
	Gate, Up, Down     Matrix    // [F,C] (Gate only with swiglu), [F,C], [C,F]
	PLE                PLE       // only with per-layer embeddings
}

// PLE holds the per-layer embeddings of a layer; E is arch.Config.PLEDim.
type PLE struct {
	Table     Matrix // [V,E], of which a token reads one row
	Gate, Out Matrix // [E,C], [C,E]
}

// Weights is the shipped model. No float copy of an INT8 matrix exists.
type Weights struct {
	Config         arch.Config
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

// NewWeights returns zero weights with every shape of a configuration. Errors: *arch.FieldError.
func NewWeights(c arch.Config) (*Weights, error) {
	c = c.Shipped()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	vector := func(n int, present bool) []float32 {
		if !present {
			return nil
		}
		return make([]float32, n)
	}
	w := &Weights{Config: c, Layers: make([]Layer, c.Layers)}
	for _, mod := range c.Modules() {
		p := w.place(mod)
		if mod.IsMatrix() {
			*p.matrix = Matrix{Rows: mod.Rows, Cols: mod.Cols, Q: make([]int8, mod.Rows*mod.Cols), Scale: make([]float32, mod.Rows), Bias: vector(mod.Rows, mod.Bias)}
			continue
		}
		*p.gain = vector(mod.Cols, true)
		if mod.Bias {
			*p.bias = vector(mod.Cols, true)
		}
	}
	return w, nil
}

// place is where the weights of a module are: a matrix, or a gain and its bias.
type place struct {
	matrix     *Matrix
	gain, bias *[]float32
}

// place finds the weights of a module of the configuration.
func (w *Weights) place(m arch.Module) place {
	l := &Layer{}
	if m.Layer >= 0 {
		l = &w.Layers[m.Layer]
	}
	switch m.Part {
	case arch.Embedding:
		return place{matrix: &w.Embedding}
	case arch.Positions:
		return place{matrix: &w.Positions}
	case arch.Norm1:
		return place{gain: &l.Norm1, bias: &l.Norm1Bias}
	case arch.Query:
		return place{matrix: &l.Query}
	case arch.Key:
		return place{matrix: &l.Key}
	case arch.Value:
		return place{matrix: &l.Value}
	case arch.Output:
		return place{matrix: &l.Output}
	case arch.QueryNorm:
		return place{gain: &l.QueryNorm}
	case arch.KeyNorm:
		return place{gain: &l.KeyNorm}
	case arch.Norm2:
		return place{gain: &l.Norm2, bias: &l.Norm2Bias}
	case arch.Gate:
		return place{matrix: &l.Gate}
	case arch.Up:
		return place{matrix: &l.Up}
	case arch.Down:
		return place{matrix: &l.Down}
	case arch.PLETable:
		return place{matrix: &l.PLE.Table}
	case arch.PLEGate:
		return place{matrix: &l.PLE.Gate}
	case arch.PLEOut:
		return place{matrix: &l.PLE.Out}
	case arch.FinalNorm:
		return place{gain: &w.Norm, bias: &w.NormBias}
	default:
		return place{matrix: &w.Head}
	}
}

// Visit calls f for every matrix with the name of its module (without .weight), and for every other vector that the
// configuration has with the name of its tensor, all as in a Hugging Face folder, in the order of arch.Config.Modules. One of
// m and v is nil. Biases of matrices are part of the matrix. It returns the errors of f, joined.
func (w *Weights) Visit(f func(name string, m *Matrix, v *[]float32) error) error {
	var errs []error
	for _, mod := range w.Config.Modules() {
		p := w.place(mod)
		if mod.IsMatrix() {
			errs = append(errs, f(mod.Name, p.matrix, nil))
			continue
		}
		errs = append(errs, f(mod.Weight().Name, nil, p.gain))
		if mod.Bias {
			errs = append(errs, f(mod.BiasTensor().Name, nil, p.bias))
		}
	}
	return errors.Join(errs...)
}

// Validate checks the configuration, every shape and every value. Errors: *arch.FieldError, *WeightError (a *ShapeError,
// ErrMinus128 or ErrNotFinite).
func (w *Weights) Validate() error {
	c := &w.Config
	if err := c.Validate(); err != nil {
		return err
	}
	if c.AuxVocab != 0 {
		return &arch.FieldError{Field: "aux_vocab_size", Got: c.AuxVocab, Want: "0: a second head does not ship"}
	}
	if len(w.Layers) != c.Layers {
		return &arch.FieldError{Field: "num_hidden_layers", Got: c.Layers, Want: fmt.Sprintf("%d, the number of layers given", len(w.Layers))}
	}
	var k checker
	for _, mod := range c.Modules() {
		p := w.place(mod)
		if mod.IsMatrix() {
			k.matrix(mod.Name, p.matrix, mod.Rows, mod.Cols, mod.Bias)
			continue
		}
		k.vector(mod.Weight().Name, *p.gain, mod.Cols)
		if mod.Bias {
			k.vector(mod.BiasTensor().Name, *p.bias, mod.Cols)
		} else if p.bias != nil && *p.bias != nil {
			k.fail(mod.BiasTensor().Name, errors.New("present although the configuration has none"))
		}
	}
	k.absent(w)
	return k.err
}

// checker keeps the first error.
type checker struct{ err error }

func (k *checker) fail(tensor string, err error) {
	if k.err == nil {
		k.err = &WeightError{Tensor: tensor, Err: err}
	}
}

// absent refuses weights that the configuration has no module for.
func (k *checker) absent(w *Weights) {
	c := &w.Config
	if c.TieEmbeddings && w.Head.Q != nil {
		k.fail("lm_head", errors.New("present although the embeddings are tied"))
	}
	for i := range w.Layers {
		if l := &w.Layers[i]; !c.QKNorm && (l.QueryNorm != nil || l.KeyNorm != nil) {
			k.fail(fmt.Sprintf("model.layers.%d.%s.weight", i, arch.QueryNorm), errors.New("present although qk_norm is false"))
		}
		for _, part := range []arch.Part{arch.PLETable, arch.PLEGate, arch.PLEOut} {
			if c.PLEDim == 0 && w.place(arch.Module{Layer: i, Part: part}).matrix.Q != nil {
				k.fail(fmt.Sprintf("model.layers.%d.%s.weight", i, part), errors.New("present although ple_dim is 0"))
			}
		}
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
		if x != 0 && x > -MinMagnitude && x < MinMagnitude {
			k.fail(name, fmt.Errorf("element %d is %v, want 0 or a magnitude of at least %v; mito quantize makes such a number 0", i, x, float32(MinMagnitude)))
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
