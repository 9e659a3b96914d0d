package arch

import (
	"fmt"
	"math"
	"slices"
)

// Bounds that keep products of sizes, and INT32 sums over a row of INT8 products, far from overflow; nothing near them
// fits a workstation.
const (
	MaxWidth   = 1 << 16
	MaxLayers  = 1 << 10
	MaxVocab   = 1 << 22
	MaxContext = 1 << 20
	maxCells   = min(1<<36, math.MaxInt/16) // of a matrix, and of the keys of one sequence
)

// minEps is the least eps whose reciprocal square root is far from overflow.
const minEps = 0x1p-60

// rule is one thing that must hold.
type rule struct {
	ok    bool
	field string
	got   any
	want  string
}

// Validate refuses configurations that no model can have; the error is a *FieldError.
func (c Config) Validate() error {
	rules := c.rules()
	switch n := len(c.LayerShapes); {
	case n > 0 && n != c.Layers:
		rules = append(rules, rule{false, "layer_shapes", fmt.Sprintf("a list of %d", n), fmt.Sprintf("one for each of the %d layers", c.Layers)})
	case n > 0:
		for i, l := range c.LayerShapes {
			rules = append(rules, c.layerRules(l, fmt.Sprintf("layer_shapes[%d].", i))...)
		}
	}
	for _, r := range rules {
		if !r.ok {
			return &FieldError{Field: r.field, Got: r.got, Want: r.want}
		}
	}
	return nil
}

func in(v, lo, hi int) bool { return v >= lo && v <= hi }

func upTo(n int) string { return fmt.Sprintf("1 to %d", n) }

// fit says that a product of sizes, each positive and below 2^22, stays within maxCells.
func fit(sizes ...int) bool {
	n := int64(1)
	for _, s := range sizes {
		if n *= int64(s); n > maxCells {
			return false
		}
	}
	return true
}

func (c *Config) rules() []rule {
	rope := c.Position == PositionRoPE
	whole := Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: c.Window, Scale: c.Scale}
	rules := []rule{
		{c.ModelType == ModelType, "model_type", quoted(c.ModelType), `"mito"`},
		{in(c.VocabSize, 1, MaxVocab), "vocab_size", c.VocabSize, upTo(MaxVocab)},
		{in(c.AuxVocab, 0, MaxVocab), "aux_vocab_size", c.AuxVocab, fmt.Sprintf("0 (no second head) to %d", MaxVocab)},
		{in(c.HiddenSize, 1, MaxWidth), "hidden_size", c.HiddenSize, upTo(MaxWidth)},
		{in(c.Layers, 1, MaxLayers), "num_hidden_layers", c.Layers, upTo(MaxLayers)},
		{in(c.Context, 1, MaxContext), "max_position_embeddings", c.Context, upTo(MaxContext)},
		{in(c.PLEDim, 0, MaxWidth) && fit(c.VocabSize, max(1, c.PLEDim)), "ple_dim", c.PLEDim, fmt.Sprintf("0 (no per-layer embeddings) to %d, and tables of at most %d weights", MaxWidth, int64(maxCells))},
		{in(c.HeadDim, 1, MaxWidth), "head_dim", c.HeadDim, "1 or more; hidden_size must divide by num_attention_heads where it is left out"},
	}
	rules = append(rules, c.layerRules(whole, "")...)
	return append(rules,
		rule{fit(c.VocabSize, c.HiddenSize) && fit(c.AuxVocab, c.HiddenSize), "hidden_size", c.HiddenSize, fmt.Sprintf("no matrix of more than %d weights", int64(maxCells))},
		rule{fit(c.Layers, c.KVHeads, c.HeadDim, c.Context), "max_position_embeddings", c.Context, fmt.Sprintf("at most %d numbers in the keys of a sequence", int64(maxCells))},
		rule{!rope || c.HeadDim%2 == 0, "head_dim", c.HeadDim, "an even number with rope"},
		rule{slices.Contains([]string{ActReLU, ActReLU2, ActGELU, ActSwiGLU}, c.Activation), "hidden_act", quoted(c.Activation), "relu, relu2, gelu or swiglu"},
		rule{c.Norm == NormRMS || c.Norm == NormLayer, "norm_type", quoted(c.Norm), "rmsnorm or layernorm"},
		rule{c.NormEps >= minEps && c.NormEps < 1, "rms_norm_eps", c.NormEps, "more than 0 and less than 1"},
		rule{rope || c.Position == PositionLearned, "position_embedding", quoted(c.Position), "rope or learned"},
		rule{!rope || c.RoPETheta > 1 && c.RoPETheta <= math.MaxFloat32, "rope_theta", c.RoPETheta, "more than 1, and finite"},
	)
}

// layerRules are those of one layer's shape; at is what comes before the names of its fields.
func (c *Config) layerRules(l Layer, at string) []rule {
	return []rule{
		{in(l.IntermediateSize, 1, MaxWidth), at + "intermediate_size", l.IntermediateSize, upTo(MaxWidth)},
		{in(l.Heads, 1, MaxWidth), at + "num_attention_heads", l.Heads, upTo(MaxWidth)},
		{in(l.KVHeads, 1, l.Heads) && l.Heads%l.KVHeads == 0, at + "num_key_value_heads", l.KVHeads, fmt.Sprintf("a divisor of num_attention_heads (%d)", l.Heads)},
		{int64(c.HeadDim)*int64(l.Heads) <= MaxWidth, "head_dim", c.HeadDim, fmt.Sprintf("at most %d over all heads", MaxWidth)},
		{fit(l.IntermediateSize, c.HiddenSize), at + "intermediate_size", l.IntermediateSize, fmt.Sprintf("no matrix of more than %d weights", int64(maxCells))},
		{l.Window >= 0, at + "sliding_window", l.Window, "0 (full attention) or more"},
		{l.Scale >= 0 && l.Scale <= math.MaxFloat32, at + "attention_scale", l.Scale, "0 (1/√head_dim) or a positive number"},
		{l.Heads <= c.Heads, at + "num_attention_heads", l.Heads, fmt.Sprintf("at most the %d of the model", c.Heads)},
		{l.KVHeads <= c.KVHeads, at + "num_key_value_heads", l.KVHeads, fmt.Sprintf("at most the %d of the model", c.KVHeads)},
		{l.IntermediateSize <= c.IntermediateSize, at + "intermediate_size", l.IntermediateSize, fmt.Sprintf("at most the %d of the model", c.IntermediateSize)},
	}
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }
