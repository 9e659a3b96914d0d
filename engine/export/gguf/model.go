package gguf

import (
	"bytes"
	"io"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/tokenizer"
)

// Options say how a model is written.
type Options struct {
	Type Type   // of the matrices
	Name string // general.name
}

// Write writes a model, its tensors under mito's names, F32, with its tokenizer unless it is nil. Errors: *shape.Error for
// what llama.cpp has no architecture for, *checkpoint.FormatError for tensors that do not fit the configuration.
func Write(w io.Writer, c arch.Config, tensors []checkpoint.Tensor, tok tokenizer.Tokenizer, o Options) error {
	if err := c.Validate(); err != nil {
		return err
	}
	f, err := choose(&c)
	if err != nil {
		return err
	}
	values, err := shape.Floats(&c, tensors)
	if err != nil {
		return err
	}
	pairs := append(f.metadata(&c, o), pair{f.name + ".vocab_size", uint32(c.VocabSize)})
	more, err := tokenizerPairs(tok, c.VocabSize)
	if err != nil {
		return err
	}
	out, err := f.tensors(&c, values, o.Type)
	if err != nil {
		return err
	}
	return writeFile(w, append(pairs, more...), out)
}

// metadata says what the model is.
func (f *family) metadata(c *arch.Config, o Options) []pair {
	u := func(n int) uint32 { return uint32(n) }
	list := []pair{
		{"general.architecture", f.name}, {"general.type", "model"}, {"general.name", o.Name},
		{"general.file_type", fileTypes[o.Type]}, {"general.quantization_version", uint32(2)},
	}
	add := func(key string, value any) { list = append(list, pair{f.name + "." + key, value}) }
	add("context_length", u(c.Context))
	add("embedding_length", u(c.HiddenSize))
	add("block_count", u(c.Layers))
	add("feed_forward_length", u(c.IntermediateSize))
	add("attention.head_count", u(c.Heads))
	add("attention.head_count_kv", u(c.KVHeads))
	if c.Norm == arch.NormRMS {
		add("attention.layer_norm_rms_epsilon", c.NormEps)
	} else {
		add("attention.layer_norm_epsilon", c.NormEps)
	}
	if c.Position == arch.PositionRoPE {
		add("attention.key_length", u(c.HeadDim))
		add("attention.value_length", u(c.HeadDim))
		add("rope.dimension_count", u(c.HeadDim))
		add("rope.freq_base", float32(c.RoPETheta))
	}
	if f.name == "stablelm" {
		add("use_parallel_residual", false)
	}
	if f.name == "apertus" { // these stand without the architecture's name
		for _, x := range xielu {
			each := make([]float32, c.Layers)
			for i := range each {
				each[i] = x.value
			}
			list = append(list, pair{x.key, each})
		}
	}
	return list
}

// xielu makes the activation of Apertus ReLU². It is x>0: αp·x² + βx, else: (expm1(min(x, ε)) - x)·αn + βx, where αp is
// softplus(alpha_p) and αn is β + softplus(alpha_n). With these αp is 1, and β and αn are 0.
var xielu = []struct {
	key   string
	value float32
}{
	{"xielu.alpha_p", float32(math.Log(math.E - 1))}, {"xielu.alpha_n", -200}, {"xielu.beta", 0}, {"xielu.eps", -1e-6},
}

// tensors gathers the file's tensors.
func (f *family) tensors(c *arch.Config, values shape.Values, as Type) ([]tensor, error) {
	var out []tensor
	whole := map[string][]float32{} // of fused tensors
	add := func(s slot, suffix string, dims []int, v []float32) error {
		if s.heads > 0 {
			v = shape.Interleave(v, s.heads, c.HeadDim)
		}
		n := s.name + suffix
		if s.rows != s.module.Rows {
			cols := len(v) / s.module.Rows
			if whole[n] == nil {
				whole[n] = make([]float32, s.rows*cols)
			}
			copy(whole[n][s.row*cols:], v)
			if s.row+s.module.Rows < s.rows {
				return nil
			}
			v, dims = whole[n], append([]int{s.rows}, dims[1:]...)
		}
		t := F32
		if len(dims) == 2 && s.module.Part != arch.Positions {
			if t = as; dims[1]%block != 0 && (as == Q8_0 || as == Q4_0) {
				t = F16
			}
		}
		data, err := encode(t, s.module.Name+suffix, v)
		out = append(out, tensor{n, t, dims, data})
		return err
	}
	for _, s := range f.slots(c) {
		m := s.module
		w := m.Weight()
		if err := add(s, ".weight", w.Shape, values[w.Name]); err != nil {
			return nil, err
		}
		b := m.BiasTensor()
		v := values[b.Name]
		rule := f.bias(m)
		switch {
		case rule == never && v != nil && !shape.Zero(v):
			return nil, shape.Errorf(name, "%s has a bias, which llama.cpp's %s has no place for", m.Name, f.name)
		case rule == never || rule == optional && v == nil:
			continue
		case v == nil:
			v = make([]float32, b.Size())
		}
		if err := add(s, ".bias", b.Shape, v); err != nil {
			return nil, err
		}
	}
	if c.TieEmbeddings && f.headAlways {
		for _, t := range out {
			if t.name == "token_embd.weight" {
				t.name = "output.weight"
				return append(out, t), nil
			}
		}
	}
	return out, nil
}

// sameTensor says that two tensors hold the same bytes.
func sameTensor(a, b *tensor) bool { return a.t == b.t && bytes.Equal(a.data, b.data) }
