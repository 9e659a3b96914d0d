package gguf

import (
	"fmt"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/export/shape"
)

// family is an architecture of llama.cpp.
type family struct {
	name                string
	norm, position, act string
	qkNorm, square, mha bool
	fused               bool // query, key and value are one matrix
	interleaved         bool // rows of query and key are in the order of Meta's code
	headAlways          bool // there is an output.weight even where it is the embedding
	biases              map[arch.Part]rule
}

// rule says whether a matrix has a bias. Those of LayerNorm always have.
type rule int

const (
	never rule = iota
	optional
	required
)

func biases(qkv, output, mlp rule) map[arch.Part]rule {
	return map[arch.Part]rule{
		arch.Query: qkv, arch.Key: qkv, arch.Value: qkv, arch.Output: output, arch.Gate: mlp, arch.Up: mlp, arch.Down: mlp,
	}
}

// families lists the architectures by what llama.cpp's loaders create and its graphs compute.
var families = []*family{
	{name: "arcee", norm: arch.NormRMS, position: arch.PositionRoPE, act: arch.ActReLU2, interleaved: true, biases: biases(optional, never, never)},
	{name: "apertus", norm: arch.NormRMS, position: arch.PositionRoPE, act: arch.ActReLU2, qkNorm: true, headAlways: true, biases: biases(optional, optional, never)},
	{name: "llama", norm: arch.NormRMS, position: arch.PositionRoPE, act: arch.ActSwiGLU, interleaved: true, biases: biases(optional, optional, optional)},
	{name: "qwen3", norm: arch.NormRMS, position: arch.PositionRoPE, act: arch.ActSwiGLU, qkNorm: true, biases: biases(optional, never, never)},
	{name: "gpt2", norm: arch.NormLayer, position: arch.PositionLearned, act: arch.ActGELU, square: true, mha: true, fused: true, biases: biases(required, required, required)},
	{name: "starcoder2", norm: arch.NormLayer, position: arch.PositionRoPE, act: arch.ActGELU, square: true, biases: biases(optional, required, required)},
	{name: "stablelm", norm: arch.NormLayer, position: arch.PositionRoPE, act: arch.ActSwiGLU, square: true, headAlways: true, biases: biases(optional, never, never)},
}

// partNames are those of tensors; of a layer without what stands before them.
var partNames = map[arch.Part]string{
	arch.Embedding: "token_embd", arch.Positions: "position_embd", arch.FinalNorm: "output_norm", arch.Head: "output",
	arch.Norm1: "attn_norm", arch.Query: "attn_q", arch.Key: "attn_k", arch.Value: "attn_v", arch.Output: "attn_output",
	arch.QueryNorm: "attn_q_norm", arch.KeyNorm: "attn_k_norm",
	arch.Norm2: "ffn_norm", arch.Gate: "ffn_gate", arch.Up: "ffn_up", arch.Down: "ffn_down",
}

const fusedName = "attn_qkv"

func tensorName(layer int, part string) string {
	if layer < 0 {
		return part
	}
	return fmt.Sprintf("blk.%d.%s", layer, part)
}

// names of the families, for messages.
func familyNames() string {
	var list []string
	for _, f := range families {
		list = append(list, f.name)
	}
	return strings.Join(list, ", ")
}

// choose finds the family that computes what a model does. Errors: *shape.Error with the reason.
func choose(c *arch.Config) (*family, error) {
	if err := shape.Plain(name, c); err != nil {
		return nil, err
	}
	for _, f := range families {
		if f.norm == c.Norm && f.position == c.Position && f.act == c.Activation && f.qkNorm == c.QKNorm &&
			(!f.square || c.Heads*c.HeadDim == c.HiddenSize) && (!f.mha || c.Heads == c.KVHeads) {
			return f, nil
		}
	}
	what := []string{c.Norm, c.Position + " positions", c.Activation}
	if c.QKNorm {
		what = append(what, "QK-norm")
	}
	if c.Heads*c.HeadDim != c.HiddenSize {
		what = append(what, "heads that are not hidden_size/num_attention_heads wide")
	}
	if c.Norm == arch.NormLayer && c.Heads != c.KVHeads {
		what = append(what, "grouped-query attention")
	}
	return nil, &shape.Error{Format: name, What: "llama.cpp has no architecture of " + strings.Join(what, ", "),
		Do: "mito writes " + familyNames() + "; ReLU² behind RMSNorm, SwiGLU, or GELU behind LayerNorm fit one"}
}

// familyOf finds a family by general.architecture, nil where there is none.
func familyOf(kind string) *family {
	if i := slices.IndexFunc(families, func(f *family) bool { return f.name == kind }); i >= 0 {
		return families[i]
	}
	return nil
}

// slot is a tensor of mito's with its place in a file. In a fused matrix Row is its first row.
type slot struct {
	module arch.Module
	name   string // of the file's tensor, without .weight and .bias
	row    int
	rows   int // of the file's tensor
	heads  int // to interleave, 0 for none
}

// slots lists the modules of a model.
func (f *family) slots(c *arch.Config) []slot {
	var list []slot
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for _, m := range c.Modules() {
		s := slot{module: m, name: tensorName(m.Layer, partNames[m.Part]), rows: m.Rows}
		if f.interleaved && m.Part == arch.Query {
			s.heads = c.Heads
		}
		if f.interleaved && m.Part == arch.Key {
			s.heads = c.KVHeads
		}
		if f.fused && (m.Part == arch.Query || m.Part == arch.Key || m.Part == arch.Value) {
			s.name, s.rows = tensorName(m.Layer, fusedName), q+2*kv
			s.row = map[arch.Part]int{arch.Key: q, arch.Value: q + kv}[m.Part]
		}
		list = append(list, s)
	}
	return list
}

// bias is what the family says of a module's bias.
func (f *family) bias(m arch.Module) rule {
	if !m.IsMatrix() && m.Bias {
		return required
	}
	return f.biases[m.Part]
}

// Architecture is the general.architecture that a model is written as. Errors: *shape.Error.
func Architecture(c arch.Config) (string, error) {
	f, err := choose(&c)
	if err != nil {
		return "", err
	}
	return f.name, nil
}
