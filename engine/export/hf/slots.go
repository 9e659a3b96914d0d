package hf

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
)

// slot is where one of mito's tensors lies in a folder of a family.
type slot struct {
	tensor     arch.Tensor
	part       arch.Part
	name       string // of the folder's tensor
	row, rows  int    // its first row there, and how many the folder's tensor has; rows of the transposed where it is
	transposed bool
	missing    bool // the folder has no such tensor: zero
	extra      bool // mito has no such tensor: zero
}

// slots lists the tensors of a model in the order of mito's file, those that only the family has among them.
func (f *family) slots(c *arch.Config) []slot {
	var list []slot
	for _, m := range c.Modules() {
		name, in := f.names.parts[m.Part], m.Layer >= 0
		if in {
			name = fmt.Sprintf(f.names.layer, m.Layer) + name
		}
		w := slot{tensor: m.Weight(), part: m.Part, name: name + ".weight", rows: m.Rows, transposed: f.names.conv && in && m.IsMatrix()}
		if !m.IsMatrix() {
			w.rows = m.Cols
		}
		b := slot{tensor: m.BiasTensor(), part: m.Part, name: name + ".bias", rows: w.rows}
		if f.names.fused {
			q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
			switch m.Part {
			case arch.Query:
				w.rows = q + 2*kv
			case arch.Key:
				w.rows, w.row = q+2*kv, q
			case arch.Value:
				w.rows, w.row = q+2*kv, q+kv
			}
			b.row, b.rows = w.row, w.rows
		}
		list = append(list, w)
		has := m.Bias
		if m.IsMatrix() {
			has = f.biased(m.Part, c)
		}
		b.missing, b.extra = m.Bias && !has, has && !m.Bias
		if m.Bias || has {
			list = append(list, b)
		}
	}
	return list
}

// shape is that of the folder's tensor.
func (s *slot) shape() []int {
	if len(s.tensor.Shape) == 1 {
		return []int{s.rows}
	}
	if s.transposed {
		return []int{s.tensor.Shape[1], s.rows}
	}
	return []int{s.rows, s.tensor.Shape[1]}
}

// write gathers the folder's tensors from mito's, all F32.
func (f *family) write(c *arch.Config, tensors []checkpoint.Tensor) ([]checkpoint.Tensor, error) {
	own, err := checkpoint.NewFile("", tensors)
	if err != nil {
		return nil, err
	}
	var out []checkpoint.Tensor
	parts := map[string][]float32{} // of tensors that several of mito's make
	for _, s := range f.slots(c) {
		if s.missing {
			continue // found to be zero when the family was chosen
		}
		var values []float32
		if !s.extra {
			t, err := own.Get(s.tensor.Name, checkpoint.F32, s.tensor.Shape...)
			if err != nil {
				return nil, err
			}
			if s.rows == s.tensor.Shape[0] && !s.transposed {
				out = append(out, checkpoint.Tensor{Name: s.name, DType: t.DType, Shape: t.Shape, Data: t.Data})
				continue
			}
			if values, err = t.F32(); err != nil {
				return nil, err
			}
		}
		whole, begun := parts[s.name]
		if !begun {
			n := 1
			for _, d := range s.shape() {
				n *= d
			}
			whole = make([]float32, n)
			parts[s.name] = whole
		}
		s.put(whole, values)
		if s.row+s.tensor.Shape[0] == s.rows {
			out = append(out, checkpoint.FromF32(s.name, s.shape(), whole))
		}
	}
	return out, nil
}

// put writes mito's rows into the folder's tensor; nil stands for zeros.
func (s *slot) put(whole, values []float32) {
	if values == nil {
		return
	}
	if !s.transposed {
		cols := len(values) / s.tensor.Shape[0]
		copy(whole[s.row*cols:], values)
		return
	}
	rows, cols := s.tensor.Shape[0], s.tensor.Shape[1]
	for r := range rows {
		for i := range cols {
			whole[i*s.rows+s.row+r] = values[r*cols+i]
		}
	}
}

// take is the inverse of put.
func (s *slot) take(whole []float32) []float32 {
	rows := s.tensor.Shape[0]
	if !s.transposed {
		cols := len(whole) / s.rows
		return whole[s.row*cols:][:rows*cols]
	}
	cols := s.tensor.Shape[1]
	values := make([]float32, rows*cols)
	for i := range cols {
		for r := range rows {
			values[r*cols+i] = whole[i*s.rows+s.row+r]
		}
	}
	return values
}

// source is a folder's file, with the names that it leaves out of or puts before those of the family.
type source struct {
	f      *family
	file   *checkpoint.File
	bare   bool // without the prefix of the base model
	used   map[string]bool
	floats map[string][]float32 // of tensors that several of mito's are read from
}

func (f *family) source(file *checkpoint.File) *source {
	embed := f.names.parts[arch.Embedding] + ".weight"
	bare := !file.Has(embed) && file.Has(strings.TrimPrefix(embed, f.names.prefix))
	return &source{f: f, file: file, bare: bare, used: map[string]bool{}, floats: map[string][]float32{}}
}

func (s *source) name(name string) string {
	if s.bare {
		return strings.TrimPrefix(name, s.f.names.prefix)
	}
	return name
}

// read takes one of mito's tensors out of the file.
func (s *source) read(at slot) (checkpoint.Tensor, error) {
	name := s.name(at.name)
	t, err := s.file.Tensor(name)
	if err != nil {
		return checkpoint.Tensor{}, err
	}
	if want := at.shape(); fmt.Sprint(t.Shape) != fmt.Sprint(want) {
		return checkpoint.Tensor{}, &checkpoint.FormatError{Path: s.file.Path, Name: name, Err: checkpoint.ErrShape, Detail: fmt.Sprintf("is %v, expected %v", t.Shape, want)}
	}
	s.used[name] = true
	if t.DType == checkpoint.F32 && at.rows == at.tensor.Shape[0] && !at.transposed {
		return checkpoint.Tensor{Name: at.tensor.Name, DType: t.DType, Shape: at.tensor.Shape, Data: t.Data}, nil
	}
	whole := s.floats[name]
	if whole == nil {
		if whole, err = t.Float(); err != nil {
			return checkpoint.Tensor{}, fmt.Errorf("%s: %w", s.file.Path, err)
		}
		if at.rows != at.tensor.Shape[0] {
			s.floats[name] = whole
		}
	}
	return checkpoint.FromF32(at.tensor.Name, at.tensor.Shape, at.take(whole)), nil
}

// rest refuses tensors that nobody has asked for, but those that say nothing: masks and frequencies that transformers
// once saved, and a head that is the embedding again.
func (s *source) rest(c *arch.Config) error {
	for i := range s.file.Tensors {
		t := &s.file.Tensors[i]
		switch name := t.Name; {
		case s.used[name]:
		case strings.HasSuffix(name, ".rotary_emb.inv_freq") || strings.HasSuffix(name, ".attn.masked_bias") || strings.HasSuffix(name, ".attn.bias") ||
			strings.HasSuffix(name, ".attn.attention.bias") || strings.HasSuffix(name, ".attn.attention.masked_bias"):
		case name == "lm_head.weight" && c.TieEmbeddings:
			e, err := s.file.Tensor(s.name(s.f.names.parts[arch.Embedding] + ".weight"))
			if err != nil {
				return err
			}
			if e.DType != t.DType || !bytes.Equal(e.Data, t.Data) {
				return &checkpoint.FormatError{Path: s.file.Path, Name: name, Err: checkpoint.ErrUnexpected,
					Detail: "it differs from the embedding, and config.json says that both are one (tie_word_embeddings); one of the two is wrong"}
			}
		default:
			return &checkpoint.FormatError{Path: s.file.Path, Name: name, Err: checkpoint.ErrUnexpected, Detail: "the configuration has no place for it"}
		}
	}
	return nil
}

// zeros says that every element of a float tensor is zero.
func zeros(t *checkpoint.Tensor) bool {
	v, err := t.Float()
	for _, x := range v {
		if x != 0 || math.Signbit(float64(x)) {
			return false
		}
	}
	return err == nil
}
