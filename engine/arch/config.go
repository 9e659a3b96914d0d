package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// ModelType is the model_type in the config.json of mito's own models.
const ModelType = "mito"

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

// SpecVersion is the version of the student's arithmetic (engine/student/SPEC.md): spec_version in the config.json of an INT8
// student.
const SpecVersion = 2

// Config is the shape of a model, as config.json holds it. The keys are those of Hugging Face's Llama where it has
// them. Compare configurations with Equal: they hold a slice.
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
	Window           int     `json:"sliding_window"`            // positions that a token sees, itself included; 0 for all
	Scale            float32 `json:"attention_scale,omitempty"` // of the scores; 0 for 1/√D
	QKNorm           bool    `json:"qk_norm"`
	AttentionBias    bool    `json:"attention_bias"`
	MLPBias          bool    `json:"mlp_bias"`
	TieEmbeddings    bool    `json:"tie_word_embeddings"`

	// PLEDim is the width of the per-layer embeddings: every layer has a table of all tokens, of which a token reads one row; 0 for
	// none.
	PLEDim int `json:"ple_dim,omitempty"`

	// AuxVocab is the number of classes of a second output head, which is trained beside the first and does not ship;
	// 0 for none.
	AuxVocab int `json:"aux_vocab_size,omitempty"`

	// LayerShapes has one entry for each layer where layers differ, as after pruning; it is nil where all are alike.
	// The fields of the same names above are then those of the largest layer. Read shapes with Layer.
	LayerShapes []Layer `json:"layer_shapes,omitempty"`
}

// Layer is what may differ from layer to layer.
type Layer struct {
	Heads            int     `json:"num_attention_heads"`
	KVHeads          int     `json:"num_key_value_heads"`
	IntermediateSize int     `json:"intermediate_size"`
	Window           int     `json:"sliding_window"`            // 0 for all positions
	Scale            float32 `json:"attention_scale,omitempty"` // 0 for 1/√D
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

// Layer is the shape of layer i, with the scale of its attention filled in.
func (c *Config) Layer(i int) Layer {
	l := Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: c.Window, Scale: c.Scale}
	if c.LayerShapes != nil {
		l = c.LayerShapes[i]
	}
	if l.Scale == 0 {
		l.Scale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	}
	return l
}

// WidestWindow is the number of positions that some layer looks at, itself among them; 0 where one looks at all.
func (c *Config) WidestWindow() int {
	widest := 0
	for i := range c.Layers {
		w := c.Layer(i).Window
		if w < 1 {
			return 0
		}
		widest = max(widest, w)
	}
	return widest
}

// SetLayers gives every layer its shape and makes the fields above those of the largest. Layers that are all alike
// leave LayerShapes nil.
func (c *Config) SetLayers(layers []Layer) {
	c.Layers, c.LayerShapes = len(layers), nil
	if len(layers) == 0 {
		return
	}
	first, alike := layers[0], true
	c.Heads, c.KVHeads, c.IntermediateSize, c.Window, c.Scale = 0, 0, 0, first.Window, first.Scale
	for _, l := range layers {
		alike = alike && l == first
		c.Heads, c.KVHeads = max(c.Heads, l.Heads), max(c.KVHeads, l.KVHeads)
		c.IntermediateSize = max(c.IntermediateSize, l.IntermediateSize)
		if l.Window == 0 || c.Window != 0 && l.Window > c.Window {
			c.Window = l.Window
		}
	}
	if !alike {
		c.LayerShapes = append([]Layer(nil), layers...)
	}
}

// Equal says that two configurations describe the same model.
func (c Config) Equal(o Config) bool {
	return len(c.LayerShapes) == len(o.LayerShapes) && (len(c.LayerShapes) == 0 || reflect.DeepEqual(c.LayerShapes, o.LayerShapes)) &&
		reflect.DeepEqual(c.flat(), o.flat())
}

// flat is the configuration without its slice.
func (c Config) flat() Config {
	c.LayerShapes = nil
	return c
}

// Clone copies the configuration, slice and all.
func (c Config) Clone() Config {
	c.LayerShapes = append([]Layer(nil), c.LayerShapes...)
	return c
}

// Parse reads config.json and validates it. Fields that mito does not know are left alone; what Hugging Face leaves out
// has Hugging Face's defaults, and its hidden_act silu, the activation of a gate, is swiglu. The error is a *FieldError.
func Parse(raw []byte) (Config, error) {
	c := Config{Norm: NormRMS, NormEps: 1e-5, Position: PositionRoPE, RoPETheta: 10000}
	if err := json.Unmarshal(raw, &c); err != nil {
		var field *json.UnmarshalTypeError
		if errors.As(err, &field) && field.Field != "" {
			return Config{}, &FieldError{Field: field.Field, Got: "a " + field.Value, Want: field.Type.String()}
		}
		return Config{}, &FieldError{Field: "config.json", Got: err.Error(), Want: "one JSON object"}
	}
	if c.Activation == "silu" {
		c.Activation = ActSwiGLU
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 && c.HiddenSize%c.Heads == 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if len(c.LayerShapes) == 0 {
		c.LayerShapes = nil
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// FieldError reports a field of a configuration that cannot be.
type FieldError struct {
	Field string
	Got   any
	Want  string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("config: %s is %v, want %s", e.Field, e.Got, e.Want)
}
