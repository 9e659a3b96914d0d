package arch

import (
	"fmt"
	"path"
)

// Part is the role of a module.
type Part int

// The parts of a model, in the order of Modules.
const (
	Embedding Part = iota // [V,C]; also the output head where embeddings are tied
	Positions             // [P,C]; learned positions only

	Norm1     // before attention
	Query     // [H·D,C]
	Key       // [G·D,C]
	Value     // [G·D,C]
	Output    // [C,H·D]
	QueryNorm // [D]; QK-norm only
	KeyNorm   // [D]; QK-norm only
	Norm2     // before the MLP
	Gate      // [F,C]; swiglu only
	Up        // [F,C]
	Down      // [C,F]
	PLETable  // [V,E]; per-layer embeddings only
	PLEGate   // [E,C]; per-layer embeddings only
	PLEOut    // [C,E]; per-layer embeddings only

	FinalNorm
	Head    // [V,C]; absent where embeddings are tied
	AuxHead // [classes,C]; a second output that does not ship
)

// names of the modules, without what stands before those of a layer.
var names = [...]string{
	Embedding: "model.embed_tokens", Positions: "model.embed_positions",
	Norm1: "input_layernorm", Query: "self_attn.q_proj", Key: "self_attn.k_proj", Value: "self_attn.v_proj",
	Output: "self_attn.o_proj", QueryNorm: "self_attn.q_norm", KeyNorm: "self_attn.k_norm",
	Norm2: "post_attention_layernorm", Gate: "mlp.gate_proj", Up: "mlp.up_proj", Down: "mlp.down_proj",
	PLETable: "per_layer_embed", PLEGate: "per_layer_gate", PLEOut: "per_layer_projection",
	FinalNorm: "model.norm", Head: "lm_head", AuxHead: "aux_head",
}

// String is the name of the module without what stands before those of a layer: "mlp.up_proj".
func (p Part) String() string { return names[p] }

// Table says that rows of the weight are looked up by token or position, or give its logits: an embedding or a head.
func (p Part) Table() bool {
	return p == Embedding || p == Positions || p == PLETable || p == Head || p == AuxHead
}

// Lookup says that rows of the weight are looked up by token or position.
func (p Part) Lookup() bool { return p == Embedding || p == Positions || p == PLETable }

// Residual says that the module's output is added to the residual stream.
func (p Part) Residual() bool { return p == Output || p == Down || p == PLEOut }

// Input is a row of activations that one or more matrices are multiplied by.
type Input int

// The rows that matrices read.
const (
	NoInput    Input = iota
	NormedAttn       // of Norm1: query, key, value
	Attended         // the heads' outputs: output
	NormedMLP        // of Norm2: gate, up, the gate of per-layer embeddings
	HiddenMLP        // behind the activation: down
	GatedPLE         // the token's row of the per-layer embeddings times its gate: their output
	NormedHead       // of FinalNorm: head; a tied embedding too
)

// Input is what the part's matrix is multiplied by.
func (p Part) Input() Input {
	switch p {
	case Query, Key, Value:
		return NormedAttn
	case Output:
		return Attended
	case Gate, Up, PLEGate:
		return NormedMLP
	case Down:
		return HiddenMLP
	case PLEOut:
		return GatedPLE
	case Head, AuxHead:
		return NormedHead
	}
	return NoInput
}

// Module is a matrix or a norm with its optional bias.
type Module struct {
	Name       string // as in a Hugging Face folder, such as model.layers.0.mlp.up_proj
	Part       Part
	Layer      int // -1 outside the layers
	Rows, Cols int // of the weight; Rows is 0 where it is a gain [Cols]
	Bias       bool
}

// IsMatrix tells a matrix from a norm.
func (m Module) IsMatrix() bool { return m.Rows > 0 }

// Weight is the tensor of the matrix or the gain.
func (m Module) Weight() Tensor {
	if !m.IsMatrix() {
		return Tensor{m.Name + ".weight", []int{m.Cols}}
	}
	return Tensor{m.Name + ".weight", []int{m.Rows, m.Cols}}
}

// BiasTensor is the tensor of the bias, of a module that has one.
func (m Module) BiasTensor() Tensor {
	n := m.Rows
	if !m.IsMatrix() {
		n = m.Cols
	}
	return Tensor{m.Name + ".bias", []int{n}}
}

// Tensor is a named tensor of float32.
type Tensor struct {
	Name  string
	Shape []int
}

// Size is the number of elements.
func (t Tensor) Size() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// Modules lists the modules of a valid configuration in the order of the file. A tied head is not one of them.
func (c Config) Modules() []Module {
	var list []Module
	add := func(layer int, p Part, rows, cols int, bias bool) {
		m := Module{Name: names[p], Part: p, Layer: layer, Rows: rows, Cols: cols, Bias: bias}
		if layer >= 0 {
			m.Name = fmt.Sprintf("model.layers.%d.%s", layer, m.Name)
		}
		list = append(list, m)
	}
	width, ln := c.HiddenSize, c.Norm == NormLayer
	add(-1, Embedding, c.VocabSize, width, false)
	if c.Position == PositionLearned {
		add(-1, Positions, c.Context, width, false)
	}
	for i := range c.Layers {
		l := c.Layer(i)
		heads, kv := l.Heads*c.HeadDim, l.KVHeads*c.HeadDim
		add(i, Norm1, 0, width, ln)
		add(i, Query, heads, width, c.AttentionBias)
		add(i, Key, kv, width, c.AttentionBias)
		add(i, Value, kv, width, c.AttentionBias)
		add(i, Output, width, heads, c.AttentionBias)
		if c.QKNorm {
			add(i, QueryNorm, 0, c.HeadDim, false)
			add(i, KeyNorm, 0, c.HeadDim, false)
		}
		add(i, Norm2, 0, width, ln)
		if c.Activation == ActSwiGLU {
			add(i, Gate, l.IntermediateSize, width, c.MLPBias)
		}
		add(i, Up, l.IntermediateSize, width, c.MLPBias)
		add(i, Down, width, l.IntermediateSize, c.MLPBias)
		if c.PLEDim > 0 {
			add(i, PLETable, c.VocabSize, c.PLEDim, false)
			add(i, PLEGate, c.PLEDim, width, false)
			add(i, PLEOut, width, c.PLEDim, false)
		}
	}
	add(-1, FinalNorm, 0, width, ln)
	if !c.TieEmbeddings {
		add(-1, Head, c.VocabSize, width, false)
	}
	if c.AuxVocab > 0 {
		add(-1, AuxHead, c.AuxVocab, width, false)
	}
	return list
}

// Tensors lists the tensors of all modules in the order of the file.
func (c Config) Tensors() []Tensor {
	var list []Tensor
	for _, m := range c.Modules() {
		list = append(list, m.Weight())
		if m.Bias {
			list = append(list, m.BiasTensor())
		}
	}
	return list
}

// Params is the number of parameters.
func (c Config) Params() (n int64) {
	for _, t := range c.Tensors() {
		n += t.Size()
	}
	return n
}

// Active is the number of parameters that a token uses: of a table that is only looked up, one row.
func (c Config) Active() int64 {
	n := c.Params()
	for _, m := range c.Modules() {
		if c.OnlyLookup(m) {
			n -= int64(m.Rows-1) * int64(m.Cols)
		}
	}
	return n
}

// OnlyLookup says that a token reads one row of the module's weight: it is a table, and no tied head.
func (c Config) OnlyLookup(m Module) bool {
	return m.Part.Lookup() && (m.Part != Embedding || !c.TieEmbeddings)
}

// Shipped is the configuration without what is for training only: the second head.
func (c Config) Shipped() Config {
	c.AuxVocab = 0
	return c
}

// Index finds modules by layer (-1 outside the layers) and part.
type Index map[Place]Module

// Place is where a module is.
type Place struct {
	Layer int
	Part  Part
}

// Index lists the modules of a valid configuration by their places.
func (c Config) Index() Index {
	x := Index{}
	for _, m := range c.Modules() {
		x[Place{m.Layer, m.Part}] = m
	}
	return x
}

// short are the names of matrices that people type.
var short = map[Part]string{
	Embedding: "embed", Positions: "positions", Query: "attn.q", Key: "attn.k", Value: "attn.v", Output: "attn.o",
	Gate: "mlp.gate", Up: "mlp.up", Down: "mlp.down", PLETable: "ple.table", PLEGate: "ple.gate", PLEOut: "ple.out", Head: "head",
}

// Matches says that a pattern of path.Match names the module: by what it is (mlp.up, embed, attn.*), by its layer too
// (layers.0.mlp.*), or as its folder does, with or without what stands before the modules of a layer
// (model.layers.0.mlp.up_proj, mlp.up_proj).
func (m Module) Matches(pattern string) bool {
	names := []string{m.Name, m.Part.String()}
	if s := short[m.Part]; s != "" {
		names = append(names, s)
		if m.Layer >= 0 {
			names = append(names, fmt.Sprintf("layers.%d.%s", m.Layer, s))
		}
	}
	for _, name := range names {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}
