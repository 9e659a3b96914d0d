package arch

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
)

// small is a configuration with odd sizes.
func small() Config {
	return Config{
		ModelType: ModelType, VocabSize: 11, HiddenSize: 10, IntermediateSize: 14, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 24, Activation: ActReLU2, Norm: NormRMS, NormEps: 1e-5, Position: PositionRoPE, RoPETheta: 100, TieEmbeddings: true,
	}
}

// uneven is small with layers of different shapes.
func uneven() Config {
	c := small()
	c.SetLayers([]Layer{{Heads: 2, KVHeads: 1, IntermediateSize: 14}, {Heads: 4, KVHeads: 2, IntermediateSize: 9, Window: 5, Scale: 0.5}})
	return c
}

// gpt2 has every module that small has not.
func gpt2() Config {
	c := small()
	c.Norm, c.Position, c.Activation, c.TieEmbeddings, c.QKNorm, c.AuxVocab = NormLayer, PositionLearned, ActSwiGLU, false, true, 3
	c.AttentionBias, c.MLPBias, c.PLEDim = true, true, 5
	return c
}

func TestFields(t *testing.T) {
	for _, f := range []struct {
		field string
		spoil func(c *Config)
	}{
		{"model_type", func(c *Config) { c.ModelType = "llama" }},
		{"vocab_size", func(c *Config) { c.VocabSize = 0 }},
		{"vocab_size", func(c *Config) { c.VocabSize = math.MaxInt }},
		{"aux_vocab_size", func(c *Config) { c.AuxVocab = -1 }},
		{"hidden_size", func(c *Config) { c.HiddenSize = -8 }},
		{"hidden_size", func(c *Config) { c.VocabSize, c.HiddenSize = MaxVocab, MaxWidth }},
		{"intermediate_size", func(c *Config) { c.IntermediateSize = 0 }},
		{"intermediate_size", func(c *Config) { c.IntermediateSize = MaxWidth + 1 }},
		{"num_hidden_layers", func(c *Config) { c.Layers = 1 << 30 }},
		{"max_position_embeddings", func(c *Config) { c.Context = 0 }},
		{"max_position_embeddings", func(c *Config) { c.Layers, c.Context, c.Heads, c.KVHeads, c.HeadDim = 1024, 1<<20, 1, 1, 1<<16 }},
		{"num_attention_heads", func(c *Config) { c.Heads = 0 }},
		{"num_key_value_heads", func(c *Config) { c.KVHeads = 3 }},
		{"num_key_value_heads", func(c *Config) { c.KVHeads = 8 }},
		{"num_key_value_heads", func(c *Config) { c.KVHeads = -1 }},
		{"ple_dim", func(c *Config) { c.PLEDim = -1 }},
		{"ple_dim", func(c *Config) { c.PLEDim = MaxWidth + 1 }},
		{"ple_dim", func(c *Config) { c.VocabSize, c.HiddenSize, c.PLEDim = MaxVocab, 1, MaxWidth }},
		{"head_dim", func(c *Config) { c.HeadDim = 0 }},
		{"head_dim", func(c *Config) { c.HeadDim = 7 }},
		{"head_dim", func(c *Config) { c.Heads, c.KVHeads, c.HeadDim = 1<<16, 1, 1<<16 }},
		{"hidden_act", func(c *Config) { c.Activation = "tanh" }},
		{"norm_type", func(c *Config) { c.Norm = "" }},
		{"rms_norm_eps", func(c *Config) { c.NormEps = 0 }},
		{"rms_norm_eps", func(c *Config) { c.NormEps = 1e-38 }},
		{"rms_norm_eps", func(c *Config) { c.NormEps = float32(math.NaN()) }},
		{"position_embedding", func(c *Config) { c.Position = "alibi" }},
		{"rope_theta", func(c *Config) { c.RoPETheta = 1 }},
		{"rope_theta", func(c *Config) { c.RoPETheta = math.NaN() }},
		{"sliding_window", func(c *Config) { c.Window = -1 }},
		{"attention_scale", func(c *Config) { c.Scale = -1 }},
		{"attention_scale", func(c *Config) { c.Scale = float32(math.Inf(1)) }},
		{"layer_shapes", func(c *Config) { c.LayerShapes = make([]Layer, 1) }},
		{"layer_shapes[0].intermediate_size", func(c *Config) { c.LayerShapes = make([]Layer, 2) }},
		{"layer_shapes[1].num_attention_heads", func(c *Config) { *c = uneven(); c.LayerShapes[1].Heads = 6 }},
		{"layer_shapes[1].num_key_value_heads", func(c *Config) { *c = uneven(); c.LayerShapes[1].KVHeads = 3 }},
		{"layer_shapes[1].intermediate_size", func(c *Config) { *c = uneven(); c.LayerShapes[1].IntermediateSize = 15 }},
		{"layer_shapes[0].sliding_window", func(c *Config) { *c = uneven(); c.LayerShapes[0].Window = -1 }},
	} {
		c := small()
		f.spoil(&c)
		var e *FieldError
		if err := c.Validate(); !errors.As(err, &e) || e.Field != f.field {
			t.Errorf("%+v: %v, want a *FieldError of %s", c, err, f.field)
		}
	}
	for _, c := range []Config{small(), uneven(), gpt2()} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, want := range []Config{small(), uneven(), gpt2()} {
		raw, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(raw); err != nil || !got.Equal(want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}

	// What Hugging Face leaves out has Hugging Face's defaults.
	got, err := Parse([]byte(`{"model_type":"mito","vocab_size":5,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,
		"num_attention_heads":4,"max_position_embeddings":8,"hidden_act":"swiglu","unknown":{"x":1},"sliding_window":null}`))
	if err != nil || got.KVHeads != 4 || got.HeadDim != 8 || got.Window != 0 || got.Norm != NormRMS || got.RoPETheta != 10000 {
		t.Errorf("defaults: %+v, %v", got, err)
	}

	// The activation of a gate, as Hugging Face's Llama has it.
	got, err = Parse([]byte(`{"model_type":"mito","vocab_size":5,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,
		"num_attention_heads":4,"max_position_embeddings":8,"hidden_act":"silu"}`))
	if err != nil || got.Activation != ActSwiGLU {
		t.Errorf("silu: %q, %v", got.Activation, err)
	}

	for _, bad := range []string{
		``, `[]`, `{`, `{"vocab_size":"many"}`, `{"hidden_size":1e99}`, `{"model_type":"mito"}`, `{"layer_shapes":[1]}`,
		`{"model_type":"mito","vocab_size":5,"hidden_size":33,"intermediate_size":64,"num_hidden_layers":1,
			"num_attention_heads":4,"max_position_embeddings":8,"hidden_act":"relu"}`, // 33 does not divide by 4
	} {
		var field *FieldError
		if c, err := Parse([]byte(bad)); !errors.As(err, &field) {
			t.Errorf("%s: %+v, %v, want a *FieldError", bad, c, err)
		}
	}
}

// Every field counts in Equal, and layers that say what the configuration says anyway do not change a layer.
func TestEqual(t *testing.T) {
	base := uneven()
	for name, change := range map[string]func(c *Config){
		"a field":       func(c *Config) { c.QKNorm = true },
		"a layer":       func(c *Config) { c.LayerShapes[1].Scale = 0.25 },
		"no layers":     func(c *Config) { c.LayerShapes = nil },
		"a layer's MLP": func(c *Config) { c.LayerShapes[0].IntermediateSize = 13 },
	} {
		c := base.Clone()
		if !c.Equal(base) || !base.Equal(c) {
			t.Fatal("a clone differs")
		}
		if change(&c); c.Equal(base) || base.Equal(c) {
			t.Errorf("%s makes no difference", name)
		}
	}
	empty := small()
	empty.LayerShapes = []Layer{}
	if !empty.Equal(small()) {
		t.Error("no layers and an empty list of them differ")
	}
}

func TestSetLayers(t *testing.T) {
	c := small()
	alike := Layer{Heads: 4, KVHeads: 2, IntermediateSize: 8, Window: 3}
	c.SetLayers([]Layer{alike, alike, alike})
	if c.LayerShapes != nil || c.Layers != 3 || c.IntermediateSize != 8 || c.Window != 3 {
		t.Errorf("layers that are alike: %+v", c)
	}
	c = uneven()
	if c.Heads != 4 || c.KVHeads != 2 || c.IntermediateSize != 14 || c.Window != 0 || c.Validate() != nil {
		t.Errorf("the largest layer: %+v, %v", c, c.Validate())
	}
	if got := c.Layer(1); got.Scale != 0.5 || got.Window != 5 {
		t.Errorf("layer 1: %+v", got)
	}
	if got, want := c.Layer(0).Scale, float32(1/math.Sqrt(6)); got != want {
		t.Errorf("the scale is %v, want 1/√6 = %v", got, want)
	}
}

// FuzzParse: whatever is refused is refused by a typed error, and what is accepted can be counted, and written and read
// again.
func FuzzParse(f *testing.F) {
	for _, c := range []Config{small(), uneven(), gpt2(), Edge(65, 128, 4, 96, 6, 2)} {
		raw, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		var field *FieldError
		if err != nil {
			if !errors.As(err, &field) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if n := c.Params(); n < 1 {
			t.Fatalf("%+v has %d parameters", c, n)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(text); err != nil || !again.Equal(c) {
			t.Fatalf("%+v came back as %+v, %v", c, again, err)
		}
	})
}
