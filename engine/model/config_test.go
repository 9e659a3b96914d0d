package model

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"mito/engine/checkpoint"
)

func TestConfigFields(t *testing.T) {
	for _, c := range []struct {
		field string
		spoil func(c *Config)
	}{
		{"model_type", func(c *Config) { c.ModelType = "llama" }},
		{"vocab_size", func(c *Config) { c.VocabSize = 0 }},
		{"vocab_size", func(c *Config) { c.VocabSize = math.MaxInt }},
		{"hidden_size", func(c *Config) { c.HiddenSize = -8 }},
		{"intermediate_size", func(c *Config) { c.IntermediateSize = 0 }},
		{"num_hidden_layers", func(c *Config) { c.Layers = 1 << 30 }},
		{"max_position_embeddings", func(c *Config) { c.Context = 0 }},
		{"num_attention_heads", func(c *Config) { c.Heads = 0 }},
		{"num_attention_heads", func(c *Config) { c.KVHeads = 3 }},
		{"num_key_value_heads", func(c *Config) { c.KVHeads = 8 }},
		{"num_key_value_heads", func(c *Config) { c.KVHeads = -1 }},
		{"head_dim", func(c *Config) { c.HeadDim = 0 }},
		{"head_dim", func(c *Config) { c.HeadDim = 7 }},
		{"head_dim", func(c *Config) { c.Heads, c.KVHeads, c.HeadDim = 1<<16, 1, 1<<16 }},
		{"hidden_act", func(c *Config) { c.Activation = "tanh" }},
		{"norm_type", func(c *Config) { c.Norm = "" }},
		{"rms_norm_eps", func(c *Config) { c.NormEps = 0 }},
		{"rms_norm_eps", func(c *Config) { c.NormEps = float32(math.NaN()) }},
		{"position_embedding", func(c *Config) { c.Position = "alibi" }},
		{"rope_theta", func(c *Config) { c.RoPETheta = 1 }},
		{"rope_theta", func(c *Config) { c.RoPETheta = math.NaN() }},
		{"sliding_window", func(c *Config) { c.Window = -1 }},
	} {
		cfg := small()
		c.spoil(&cfg)
		var e *ConfigError
		if err := cfg.Validate(); !errors.As(err, &e) || e.Field != c.field {
			t.Errorf("%+v: %v, want a *ConfigError of %s", cfg, err, c.field)
		}
	}
}

func TestParseConfig(t *testing.T) {
	want := small()
	raw, err := json.Marshal(want)
	check(t, err)
	got, err := ParseConfig(raw)
	check(t, err)
	if got != want {
		t.Errorf("%+v came back as %+v", want, got)
	}

	// What Hugging Face leaves out has Hugging Face's defaults.
	got, err = ParseConfig([]byte(`{"model_type":"mito","vocab_size":5,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,
		"num_attention_heads":4,"max_position_embeddings":8,"hidden_act":"swiglu","unknown":{"x":1},"sliding_window":null}`))
	check(t, err)
	if got.KVHeads != 4 || got.HeadDim != 8 || got.Window != 0 || got.Norm != NormRMS || got.RoPETheta != 10000 {
		t.Errorf("defaults: %+v", got)
	}

	for _, bad := range []string{
		``, `[]`, `{`, `{"vocab_size":"many"}`, `{"hidden_size":1e99}`, `{"model_type":"mito"}`,
		`{"model_type":"mito","vocab_size":5,"hidden_size":33,"intermediate_size":64,"num_hidden_layers":1,
			"num_attention_heads":4,"max_position_embeddings":8,"hidden_act":"relu"}`, // 33 does not divide by 4
	} {
		if c, err := ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%s: accepted as %+v", bad, c)
		}
	}
}

// FuzzParseConfig: whatever is refused is refused by a typed error, and what is accepted can be counted, and written and
// read again.
func FuzzParseConfig(f *testing.F) {
	for _, v := range variants {
		raw, err := json.Marshal(v.config())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseConfig(raw)
		var field *ConfigError
		var format *checkpoint.FormatError
		if err != nil {
			if !errors.As(err, &field) && !errors.As(err, &format) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if n := declared(c).elements(); n < 1 {
			t.Fatalf("%+v has %d parameters", c, n)
		}
		text, err := json.Marshal(c)
		check(t, err)
		if again, err := ParseConfig(text); err != nil || again != c {
			t.Fatalf("%+v came back as %+v, %v", c, again, err)
		}
	})
}

func TestEdge(t *testing.T) {
	c := Edge(65, 128, 4, 96, 6, 2)
	check(t, c.Validate())
	m, err := New(openCPU(t, 1), c, false)
	check(t, err)
	defer m.Close()
	// Tied embedding, four matrices of attention with a third of the key/value heads, two of the MLP, nine gains.
	want := 65*96 + 4*(96*96*2+96*32*2+2*96*384) + 9*96
	if got := m.Params.Count(); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}

// Every parameter has a stream of its own: the same in a model with other parts, another in another seed.
func TestInitialize(t *testing.T) {
	b := openCPU(t, 1)
	draw := func(change func(*Config), seed uint64, init Init) *Weights {
		c := small()
		change(&c)
		m, err := New(b, c, false)
		check(t, err)
		defer m.Close()
		check(t, m.Initialize(seed, init))
		w, err := m.Host()
		check(t, err)
		return w
	}
	const name = "model.layers.1.self_attn.k_proj.weight"
	a := draw(func(*Config) {}, 1, DefaultInit()).Tensors
	bias := draw(func(c *Config) { c.AttentionBias, c.QKNorm = true, true }, 1, DefaultInit()).Tensors
	other := draw(func(*Config) {}, 2, DefaultInit()).Tensors
	if a[name][3] != bias[name][3] {
		t.Error("a parameter depends on which others there are")
	}
	if a[name][3] == other[name][3] || a[name][3] == a["model.layers.0.self_attn.k_proj.weight"][3] {
		t.Error("two streams are the same")
	}
	for _, v := range bias["model.layers.0.self_attn.q_norm.weight"] {
		if v != 1 {
			t.Error("a gain does not start at one")
		}
	}
	for _, v := range bias["model.layers.0.self_attn.q_proj.bias"] {
		if v != 0 {
			t.Error("a bias does not start at zero")
		}
	}
	zero := draw(func(*Config) {}, 1, Init{Std: 0.02, FanIn: 0.57, ResidualZero: true}).Tensors
	if sum(zero["model.layers.0.self_attn.o_proj.weight"]) != 0 || sum(zero["model.layers.1.mlp.down_proj.weight"]) != 0 {
		t.Error("what writes into the residual stream does not start at zero")
	}
	// 140 draws: the standard deviation is known to 1/√280.
	up := zero["model.layers.0.mlp.up_proj.weight"]
	std := 0.0
	for _, v := range up {
		std += float64(v) * float64(v)
	}
	if got, want := math.Sqrt(std/float64(len(up))), 0.57/math.Sqrt(10); math.Abs(got-want) > 4*want/math.Sqrt(280) {
		t.Errorf("standard deviation %v, want %v", got, want)
	}
}
