package llama2c

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/tokenizer"
)

const name = "llama2.c" // in errors

// What every model of llama2.c is.
const (
	epsilon = 1e-5
	theta   = 10000
)

// Of version 2.
const (
	magic      = 0x616b3432
	version2   = 2
	headerSize = 256
	maxGroup   = 64
	minGroup   = 8 // below, the scales weigh as much as half the codes
)

// Fits says why run.c does not compute what a model does, nil where it does. Errors: *shape.Error.
func Fits(c arch.Config) error {
	if err := shape.Plain(name, &c); err != nil {
		return err
	}
	refuse := func(what string) error {
		return &shape.Error{Format: name, What: "its models have " + what, Do: "write the model as GGUF, or train one with the keys that run.c needs"}
	}
	switch {
	case c.Norm != arch.NormRMS:
		return refuse("RMSNorm, and this one " + c.Norm)
	case c.Position != arch.PositionRoPE || c.RoPETheta != theta:
		return refuse("RoPE on the base 10000")
	case c.Activation != arch.ActSwiGLU:
		return refuse("SwiGLU, and this one " + c.Activation)
	case c.QKNorm:
		return refuse("no QK-norm")
	case c.AttentionBias || c.MLPBias:
		return refuse("no biases")
	case c.Heads*c.HeadDim != c.HiddenSize:
		return refuse("heads that are hidden_size/num_attention_heads wide")
	case c.NormEps != epsilon:
		return refuse("an epsilon of 1e-5 in their norms")
	}
	return nil
}

// order lists the matrices of layers as both versions have them.
var order = []arch.Part{arch.Query, arch.Key, arch.Value, arch.Output, arch.Gate, arch.Down, arch.Up}

// part is a tensor of the file: one module, in the order of its rows there.
type part struct {
	module arch.Module
	heads  int // to interleave, 0 for none
}

// parts lists the tensors of a version; cut tells where the tables of RoPE stand in version 0.
func parts(c *arch.Config, version int) (list []part, cut int) {
	index := c.Index()
	add := func(layer int, p arch.Part) {
		x := part{module: index[arch.Place{Layer: layer, Part: p}]}
		switch p {
		case arch.Query:
			x.heads = c.Heads
		case arch.Key:
			x.heads = c.KVHeads
		}
		list = append(list, x)
	}
	each := func(of ...arch.Part) {
		for _, p := range of {
			for i := range c.Layers {
				add(i, p)
			}
		}
	}
	if version == version2 {
		each(arch.Norm1, arch.Norm2)
		add(-1, arch.FinalNorm)
		add(-1, arch.Embedding)
		each(order...)
	} else {
		add(-1, arch.Embedding)
		each(arch.Norm1)
		each(order[:4]...)
		each(arch.Norm2)
		each(order[4:]...)
		add(-1, arch.FinalNorm)
		cut = len(list)
	}
	if !c.TieEmbeddings {
		add(-1, arch.Head)
	}
	return list, cut
}

// group is the number of weights that share a scale, 0 where none fits.
func group(c *arch.Config) int {
	for g := maxGroup; g >= minGroup; g /= 2 {
		if c.HiddenSize%g == 0 && c.IntermediateSize%g == 0 {
			return g
		}
	}
	return 0
}

// Write writes a model, its tensors under mito's names, F32: version 2 where int8 is set, else version 0. Errors: *shape.Error,
// *arch.FieldError, *checkpoint.FormatError.
func Write(w io.Writer, c arch.Config, tensors []checkpoint.Tensor, int8 bool) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := Fits(c); err != nil {
		return err
	}
	values, err := shape.Floats(&c, tensors)
	if err != nil {
		return err
	}
	sizes := []int{c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.VocabSize, c.Context}
	version, size := 0, 0
	var b []byte
	if int8 {
		if version, size = version2, group(&c); size == 0 {
			return shape.Errorf(name, "INT8 needs a hidden_size and an intermediate_size that %d divides; they are %d and %d", minGroup, c.HiddenSize, c.IntermediateSize)
		}
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, magic), version2)
	} else if !c.TieEmbeddings {
		sizes[5] = -c.VocabSize
	}
	for _, n := range sizes {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(n)))
	}
	if int8 {
		b = append(b, 0)
		if c.TieEmbeddings {
			b[len(b)-1] = 1
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		b = append(b, make([]byte, headerSize-len(b))...)
	}
	list, cut := parts(&c, version)
	for i, p := range list {
		if !int8 && i == cut {
			b = appendTables(b, &c)
		}
		v := values[p.module.Weight().Name]
		if p.heads > 0 {
			v = shape.Interleave(v, p.heads, c.HeadDim)
		}
		if int8 && p.module.IsMatrix() {
			b = appendGroups(b, v, size)
		} else {
			b = appendFloats(b, v)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	if !int8 && cut == len(list) {
		b = appendTables(b, &c)
	}
	_, err = w.Write(b)
	return err
}

func appendFloats(b []byte, v []float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// appendTables writes cosines and sines of RoPE [context, head/2], which early versions of run.c read.
func appendTables(b []byte, c *arch.Config) []byte {
	for _, f := range []func(float64) float64{math.Cos, math.Sin} {
		for pos := range c.Context {
			for i := range c.HeadDim / 2 {
				angle := float64(pos) / math.Pow(theta, float64(2*i)/float64(c.HeadDim))
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f(angle))))
			}
		}
	}
	return b
}

// appendGroups writes codes and scales as export.py does: the scale is the largest magnitude over 127, halves go to even.
func appendGroups(b []byte, v []float32, size int) []byte {
	var scales []float32
	for at := 0; at < len(v); at += size {
		top := float32(0)
		for _, x := range v[at:][:size] {
			top = max(top, float32(math.Abs(float64(x))))
		}
		scale := top / 127
		scales = append(scales, scale)
		for _, x := range v[at:][:size] {
			q := 0.0
			if scale != 0 {
				q = min(127, max(-127, math.RoundToEven(float64(x/scale))))
			}
			b = append(b, byte(int8(q)))
		}
	}
	return appendFloats(b, scales)
}

// Tokenizer is tokenizer.bin of a model with vocab ids. A merge has the score of its place in the list, so that earlier ones
// are made first.
func Tokenizer(tok tokenizer.Tokenizer, vocab int) ([]byte, error) {
	if tok.VocabSize() > vocab {
		return nil, shape.Errorf(name, "the tokenizer has %d tokens and the model %d", tok.VocabSize(), vocab)
	}
	text, err := tok.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var f struct {
		Model struct {
			Vocab  map[string]int `json:"vocab"`
			Merges []string       `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	scores := make([]float32, vocab)
	for i, m := range f.Model.Merges {
		for at := range m {
			if m[at] == ' ' {
				scores[f.Model.Vocab[m[:at]+m[at+1:]]] = -float32(i + 1)
			}
		}
	}
	longest := 0
	var b []byte
	for id := range vocab {
		piece := []byte("<unused>")
		if id < tok.VocabSize() {
			if piece, err = tok.AppendToken(nil, int32(id)); err != nil {
				return nil, err
			}
		}
		longest = max(longest, len(piece))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scores[id]))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(piece)))
		b = append(b, piece...)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(longest)), b...), nil
}
