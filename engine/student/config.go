package student

import (
	"fmt"
	"math"
	"slices"
)

// Values of the enumerated fields of Config.
const (
	NormRMS   = "rmsnorm"
	NormLayer = "layernorm"

	PositionRoPE    = "rope"
	PositionLearned = "learned"

	ActReLU   = "relu"
	ActReLU2  = "relu2"
	ActGELU   = "gelu"
	ActSwiGLU = "swiglu"
)

// Config is the shape of a model. Its fields and their types are those of engine/model.Config, so that one converts to the
// other, and its JSON is config.json.
type Config struct {
	ModelType        string  `json:"model_type"`
	VocabSize        int     `json:"vocab_size"`
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	KVHeads          int     `json:"num_key_value_heads"`
	HeadDim          int     `json:"head_dim"`
	Context          int     `json:"max_position_embeddings"`
	Activation       string  `json:"hidden_act"`
	Norm             string  `json:"norm_type"`
	NormEps          float32 `json:"rms_norm_eps"`
	Position         string  `json:"position_embedding"`
	RoPETheta        float64 `json:"rope_theta"`
	Window           int     `json:"sliding_window"` // 0 means full attention
	QKNorm           bool    `json:"qk_norm"`
	AttentionBias    bool    `json:"attention_bias"`
	MLPBias          bool    `json:"mlp_bias"`
	TieEmbeddings    bool    `json:"tie_word_embeddings"`
}

// Bounds that keep products of sizes, and INT32 sums over a row, far from overflow.
const (
	maxWidth   = 1 << 16
	maxLayers  = 1 << 10
	maxVocab   = 1 << 22
	maxContext = 1 << 20
	maxCells   = min(1<<36, math.MaxInt/16) // of a matrix, and of the keys of one sequence
)

// Validate refuses configurations that no model can have; the error is a *ConfigError.
func (c Config) Validate() error {
	in := func(v, lo, hi int) bool { return v >= lo && v <= hi }
	fit := func(sizes ...int) bool {
		n := int64(1)
		for _, s := range sizes {
			if n *= int64(s); n > maxCells {
				return false
			}
		}
		return true
	}
	rope := c.Position == PositionRoPE
	for _, f := range []struct {
		ok    bool
		field string
		got   any
		want  string
	}{
		{in(c.VocabSize, 1, maxVocab), "vocab_size", c.VocabSize, fmt.Sprintf("1 to %d", maxVocab)},
		{in(c.HiddenSize, 1, maxWidth), "hidden_size", c.HiddenSize, fmt.Sprintf("1 to %d", maxWidth)},
		{in(c.IntermediateSize, 1, maxWidth), "intermediate_size", c.IntermediateSize, fmt.Sprintf("1 to %d", maxWidth)},
		{in(c.Layers, 1, maxLayers), "num_hidden_layers", c.Layers, fmt.Sprintf("1 to %d", maxLayers)},
		{in(c.Context, 1, maxContext), "max_position_embeddings", c.Context, fmt.Sprintf("1 to %d", maxContext)},
		{in(c.Heads, 1, maxWidth), "num_attention_heads", c.Heads, fmt.Sprintf("1 to %d", maxWidth)},
		{in(c.KVHeads, 1, c.Heads) && c.Heads%c.KVHeads == 0, "num_key_value_heads", c.KVHeads, fmt.Sprintf("a divisor of num_attention_heads (%d)", c.Heads)},
		{in(c.HeadDim, 1, maxWidth) && in(c.HeadDim*c.Heads, 1, maxWidth), "head_dim", c.HeadDim, fmt.Sprintf("1 or more, at most %d over all heads", maxWidth)},
		{fit(c.VocabSize, c.HiddenSize) && fit(c.IntermediateSize, c.HiddenSize), "hidden_size", c.HiddenSize, fmt.Sprintf("no matrix of more than %d weights", int64(maxCells))},
		{fit(c.Layers, c.KVHeads, c.HeadDim, c.Context), "max_position_embeddings", c.Context, fmt.Sprintf("at most %d numbers in the keys of a sequence", int64(maxCells))},
		{!rope || c.HeadDim%2 == 0, "head_dim", c.HeadDim, "an even number with rope"},
		{slices.Contains([]string{ActReLU, ActReLU2, ActGELU, ActSwiGLU}, c.Activation), "hidden_act", fmt.Sprintf("%q", c.Activation), "relu, relu2, gelu or swiglu"},
		{c.Norm == NormRMS || c.Norm == NormLayer, "norm_type", fmt.Sprintf("%q", c.Norm), "rmsnorm or layernorm"},
		{c.NormEps >= 0x1p-100 && c.NormEps < 1, "rms_norm_eps", c.NormEps, "more than 0 and less than 1"},
		{rope || c.Position == PositionLearned, "position_embedding", fmt.Sprintf("%q", c.Position), "rope or learned"},
		{!rope || c.RoPETheta > 1 && c.RoPETheta <= math.MaxFloat32, "rope_theta", c.RoPETheta, "more than 1, and finite"},
		{c.Window >= 0, "sliding_window", c.Window, "0 (full attention) or more"},
	} {
		if !f.ok {
			return &ConfigError{Field: f.field, Got: f.got, Want: f.want}
		}
	}
	return nil
}
