// Package shape holds what the formats of other runtimes share: whether a model is of a kind that they compute, the
// values of its tensors by name, and the order of rows in the two spellings of RoPE.
//
// Of mito the package imports engine/arch, engine/checkpoint and what a tensor of a checkpoint is made of.
package shape

import (
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
)

// Error says that a format has no way to say what a model, or a file, is.
type Error struct {
	Format string // such as GGUF
	What   string // what it cannot say
	Do     string // what can be done about it
}

func (e *Error) Error() string {
	if e.Do == "" {
		return fmt.Sprintf("%s: %s", e.Format, e.What)
	}
	return fmt.Sprintf("%s: %s; %s", e.Format, e.What, e.Do)
}

// Errorf makes an *Error without advice.
func Errorf(format, text string, args ...any) *Error {
	return &Error{Format: format, What: fmt.Sprintf(text, args...)}
}

// Plain checks what every one of these formats needs: layers that are alike, attention scaled by 1/√D, no second head, no
// per-layer embeddings and no window that is narrower than the context. A window that the context fits in is none. Errors: *Error.
func Plain(format string, c *arch.Config) error {
	first := c.Layer(0)
	for i := range c.Layers {
		l := c.Layer(i)
		switch {
		case l.Heads != first.Heads || l.KVHeads != first.KVHeads || l.IntermediateSize != first.IntermediateSize:
			return &Error{format, fmt.Sprintf("layers 0 and %d differ in shape, and its models have layers of one shape", i), "a Hugging Face folder keeps such a model"}
		case l.Scale != float32(1/math.Sqrt(float64(c.HeadDim))):
			return &Error{format, fmt.Sprintf("layer %d scales its attention by %v, and its models by 1/√%d", i, l.Scale, c.HeadDim), ""}
		case l.Window > 0 && l.Window < c.Context:
			return &Error{format, fmt.Sprintf("layer %d sees a window of %d of %d tokens, and its models see all", i, l.Window, c.Context),
				fmt.Sprintf("--full-attention writes a twin that sees all, which computes the same on up to %d tokens", l.Window)}
		}
	}
	if c.PLEDim > 0 {
		return &Error{format, fmt.Sprintf("the model has per-layer embeddings (ple_dim %d), and its models have one embedding", c.PLEDim),
			"write ONNX or a folder for transformers, which keep them"}
	}
	if c.AuxVocab > 0 {
		return &Error{format, "the model has a second output head, which is for training", "quantize or distil it first; what ships has none"}
	}
	return nil
}

// Values are the elements of a model's tensors by mito's names.
type Values map[string][]float32

// Floats takes every tensor of a configuration, F32 and finite, and refuses others. Errors: *checkpoint.FormatError.
func Floats(c *arch.Config, tensors []checkpoint.Tensor) (Values, error) {
	file, err := checkpoint.NewFile("", tensors)
	if err != nil {
		return nil, err
	}
	v := Values{}
	var names []string
	for _, t := range c.Tensors() {
		names = append(names, t.Name)
		got, err := file.Get(t.Name, checkpoint.F32, t.Shape...)
		if err != nil {
			return nil, err
		}
		if err := got.CheckFinite(); err != nil {
			return nil, err
		}
		if v[t.Name], err = got.F32(); err != nil {
			return nil, err
		}
	}
	return v, file.Expect(names...)
}

// Tensors is the inverse of Floats. What v lacks is zero.
func Tensors(c *arch.Config, v Values) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, t := range c.Tensors() {
		values := v[t.Name]
		if values == nil {
			values = make([]float32, t.Size())
		}
		out = append(out, checkpoint.FromF32(t.Name, t.Shape, values))
	}
	return out
}

// Zero says that all values are zero, as those of no tensor are.
func Zero(values []float32) bool {
	for _, x := range values {
		if x != 0 {
			return false
		}
	}
	return true
}

// Interleave reorders the rows of a query or key matrix [heads·dim, cols], or the elements of its bias (cols 1), from
// mito's and Hugging Face's RoPE, which turns element i with element i+dim/2, to that of Meta's code, llama2.c and GGUF's
// Llama, which turns element 2i with element 2i+1.
func Interleave(values []float32, heads, dim int) []float32 {
	return reorder(values, heads, dim, false)
}

// Deinterleave is the inverse of Interleave.
func Deinterleave(values []float32, heads, dim int) []float32 {
	return reorder(values, heads, dim, true)
}

func reorder(values []float32, heads, dim int, back bool) []float32 {
	if heads < 1 || dim < 2 || len(values) == 0 {
		return values
	}
	cols, half := len(values)/(heads*dim), dim/2
	out := make([]float32, len(values))
	for h := range heads {
		for i := range half {
			for s := range 2 {
				to, from := h*dim+2*i+s, h*dim+s*half+i
				if back {
					to, from = from, to
				}
				copy(out[to*cols:][:cols], values[from*cols:][:cols])
			}
		}
	}
	return out
}
