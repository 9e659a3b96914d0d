package model

import (
	"fmt"
	"math"

	"mito/backend"
	"mito/engine/checkpoint"
)

// ModelType is the model_type of config.json.
const ModelType = checkpoint.ModelType

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

// Config is the shape of a model, as config.json holds it. The keys are those of Hugging Face's Llama where it has
// them.
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

// Edge is mito's default for devices: RoPE, RMSNorm, ReLU², no biases, tied embeddings. The MLP is four times as
// wide as the model.
func Edge(vocab, context, layers, width, heads, kvHeads int) Config {
	return Config{
		ModelType: ModelType, VocabSize: vocab, HiddenSize: width, IntermediateSize: 4 * width, Layers: layers,
		Heads: heads, KVHeads: kvHeads, HeadDim: width / heads, Context: context, Activation: ActReLU2,
		Norm: NormRMS, NormEps: 1e-5, Position: PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
}

// ConfigError reports a field of a configuration that cannot be.
type ConfigError struct {
	Field string
	Got   any
	Want  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("model: config: %s is %v, want %s", e.Field, e.Got, e.Want)
}

// Bounds that keep every product of sizes far from overflow in an int64; nothing near them fits a workstation.
const (
	maxWidth  = 1 << 16
	maxLayers = 1 << 10
	maxVocab  = 1 << 22
	maxTokens = 1 << 20
)

// ParseConfig reads config.json and validates it. Fields that mito does not know are left alone. Errors:
// *checkpoint.FormatError, *ConfigError.
func ParseConfig(raw []byte) (Config, error) {
	c := Config{Norm: NormRMS, NormEps: 1e-5, Position: PositionRoPE, RoPETheta: 10000}
	if err := checkpoint.DecodeJSON(raw, &c); err != nil {
		return Config{}, fmt.Errorf("model: config: %w", err)
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 && c.HiddenSize%c.Heads == 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	return c, c.Validate()
}

// Validate refuses configurations that no model can have; the error is a *ConfigError.
func (c Config) Validate() error {
	oneOf := func(s string, known ...string) bool {
		for _, k := range known {
			if s == k {
				return true
			}
		}
		return false
	}
	in := func(v, lo, hi int) bool { return v >= lo && v <= hi }
	for _, f := range []struct {
		ok    bool
		field string
		got   any
		want  string
	}{
		{c.ModelType == ModelType, "model_type", fmt.Sprintf("%q", c.ModelType), `"mito"`},
		{in(c.VocabSize, 1, maxVocab), "vocab_size", c.VocabSize, fmt.Sprintf("1 to %d", maxVocab)},
		{in(c.HiddenSize, 1, maxWidth), "hidden_size", c.HiddenSize, fmt.Sprintf("1 to %d", maxWidth)},
		{in(c.IntermediateSize, 1, 8*maxWidth), "intermediate_size", c.IntermediateSize, fmt.Sprintf("1 to %d", 8*maxWidth)},
		{in(c.Layers, 1, maxLayers), "num_hidden_layers", c.Layers, fmt.Sprintf("1 to %d", maxLayers)},
		{in(c.Context, 1, maxTokens), "max_position_embeddings", c.Context, fmt.Sprintf("1 to %d", maxTokens)},
		{in(c.Heads, 1, maxWidth), "num_attention_heads", c.Heads, "1 or more"},
		{in(c.KVHeads, 1, c.Heads), "num_key_value_heads", c.KVHeads, "1 to num_attention_heads"},
		{
			c.KVHeads > 0 && c.Heads%c.KVHeads == 0, "num_attention_heads", c.Heads,
			fmt.Sprintf("a multiple of num_key_value_heads (%d)", c.KVHeads),
		},
		{in(c.HeadDim, 1, maxWidth), "head_dim", c.HeadDim, "1 or more; hidden_size must divide by num_attention_heads where it is left out"},
		{int64(c.HeadDim)*int64(c.Heads) <= 8*maxWidth, "head_dim", c.HeadDim, "a head width that fits the model"},
		{oneOf(c.Activation, ActReLU, ActReLU2, ActGELU, ActSwiGLU), "hidden_act", c.Activation, "relu, relu2, gelu or swiglu"},
		{oneOf(c.Norm, NormRMS, NormLayer), "norm_type", c.Norm, "rmsnorm or layernorm"},
		{c.NormEps > 0 && c.NormEps < 1, "rms_norm_eps", c.NormEps, "between 0 and 1"},
		{oneOf(c.Position, PositionRoPE, PositionLearned), "position_embedding", c.Position, "rope or learned"},
		{c.Position != PositionRoPE || c.HeadDim%2 == 0, "head_dim", c.HeadDim, "an even number with rope"},
		{c.Position != PositionRoPE || c.RoPETheta > 1 && !math.IsInf(c.RoPETheta, 0), "rope_theta", c.RoPETheta, "more than 1"},
		{c.Window >= 0, "sliding_window", c.Window, "0 (full attention) or more"},
	} {
		if !f.ok {
			return &ConfigError{Field: f.field, Got: f.got, Want: f.want}
		}
	}
	return nil
}

// Params is the number of parameters of a model of this configuration.
func (c Config) Params() int {
	m := &Model{Config: c, Params: &Params{}}
	m.declare()
	return m.Params.Count()
}

// activation is the backend's name for a non-gated activation.
func (c Config) activation() backend.Activation {
	switch c.Activation {
	case ActReLU:
		return backend.ReLU
	case ActReLU2:
		return backend.ReLU2
	default:
		return backend.GELU
	}
}

// RoPETables computes the cosines and sines of RoPE, arXiv:2104.09864: angle = position·θ^(-2i/D).
//
//	cos, sin [P,D/2]
func (c Config) RoPETables() (cos, sin []float32) {
	half := c.HeadDim / 2
	cos = make([]float32, c.Context*half)
	sin = make([]float32, c.Context*half)
	for i := range half {
		freq := math.Pow(c.RoPETheta, -2*float64(i)/float64(c.HeadDim))
		for p := range c.Context {
			s, co := math.Sincos(float64(p) * freq)
			cos[p*half+i], sin[p*half+i] = float32(co), float32(s)
		}
	}
	return cos, sin
}
