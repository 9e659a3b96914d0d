package hf

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/tokenizer"
)

// shapes lists configurations and the architecture that each is written as.
func shapes() map[string]struct {
	config arch.Config
	as     string
} {
	type entry = struct {
		config arch.Config
		as     string
	}
	out := map[string]entry{}
	add := func(name, as string, change func(c *arch.Config)) {
		c := arch.Config{
			ModelType: arch.ModelType, VocabSize: 13, HiddenSize: 24, IntermediateSize: 20, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 6,
			Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 500, TieEmbeddings: true,
		}
		change(&c)
		out[name] = entry{c, as}
	}
	gpt := func(c *arch.Config) {
		c.Norm, c.Position, c.Activation, c.KVHeads, c.RoPETheta = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4, 10000
	}
	add("edge", "arcee", func(c *arch.Config) {})
	add("edge untied", "arcee", func(c *arch.Config) { c.TieEmbeddings = false })
	add("edge wide heads", "arcee", func(c *arch.Config) { c.HeadDim = 10 })
	add("relu biases", "arcee", func(c *arch.Config) { c.Activation, c.AttentionBias, c.MLPBias = arch.ActReLU, true, true })
	add("gelu rms", "arcee", func(c *arch.Config) { c.Activation = arch.ActGELU })
	add("window as wide as the context", "arcee", func(c *arch.Config) { c.Window = 24 })
	add("qk-norm", "apertus", func(c *arch.Config) { c.QKNorm = true })
	add("qk-norm biases", "apertus", func(c *arch.Config) { c.QKNorm, c.AttentionBias, c.HeadDim = true, true, 8 })
	add("swiglu", "llama", func(c *arch.Config) { c.Activation = arch.ActSwiGLU })
	add("swiglu biases", "llama", func(c *arch.Config) { c.Activation, c.MLPBias, c.AttentionBias = arch.ActSwiGLU, true, true })
	add("swiglu window", "mistral", func(c *arch.Config) { c.Activation, c.Window = arch.ActSwiGLU, 7 })
	add("swiglu qk-norm", "qwen3", func(c *arch.Config) { c.Activation, c.QKNorm = arch.ActSwiGLU, true })
	add("swiglu qk-norm window", "qwen3", func(c *arch.Config) { c.Activation, c.QKNorm, c.Window = arch.ActSwiGLU, true, 7 })
	add("swiglu qk-norm some windows", "qwen3", func(c *arch.Config) {
		c.Activation, c.QKNorm = arch.ActSwiGLU, true
		l := arch.Layer{Heads: 4, KVHeads: 2, IntermediateSize: 20}
		w := l
		w.Window = 7
		c.SetLayers([]arch.Layer{w, l, w})
	})
	add("gpt2", "gpt2", func(c *arch.Config) { gpt(c); c.AttentionBias, c.MLPBias = true, true })
	add("gpt2 no biases", "gpt2", gpt)
	add("gpt2 mlp biases, relu, untied", "gpt2", func(c *arch.Config) { gpt(c); c.MLPBias, c.Activation, c.TieEmbeddings = true, arch.ActReLU, false })
	add("gpt2 unscaled", "gpt2", func(c *arch.Config) { gpt(c); c.Scale = 1 })
	add("gpt_neo", "gpt_neo", func(c *arch.Config) {
		gpt(c)
		c.MLPBias, c.Scale = true, 1
		l := arch.Layer{Heads: 4, KVHeads: 4, IntermediateSize: 20, Scale: 1}
		w := l
		w.Window = 7
		c.SetLayers([]arch.Layer{l, w, l})
	})
	add("layernorm rope swiglu", "stablelm", func(c *arch.Config) { c.Norm, c.Activation = arch.NormLayer, arch.ActSwiGLU })
	add("layernorm rope relu2 window", "starcoder2", func(c *arch.Config) { c.Norm, c.Window = arch.NormLayer, 7 })
	add("layernorm rope gelu biases", "starcoder2", func(c *arch.Config) {
		c.Norm, c.Activation, c.AttentionBias, c.MLPBias, c.HeadDim = arch.NormLayer, arch.ActGELU, true, true, 8
	})
	add("relu2 window", "mito", func(c *arch.Config) { c.Window = 7 })
	add("uneven", "mito", func(c *arch.Config) {
		l := arch.Layer{Heads: 4, KVHeads: 2, IntermediateSize: 20}
		m := arch.Layer{Heads: 2, KVHeads: 1, IntermediateSize: 12}
		c.SetLayers([]arch.Layer{l, m, l})
	})
	add("per-layer embeddings", "mito", func(c *arch.Config) { c.PLEDim = 5 })
	add("second head", "mito", func(c *arch.Config) { c.AuxVocab = 3 })
	add("rms learned", "mito", func(c *arch.Config) { c.Position = arch.PositionLearned })
	return out
}

// weights are random, different in every element.
func weights(c arch.Config) []checkpoint.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	var list []checkpoint.Tensor
	for _, t := range c.Tensors() {
		v := make([]float32, t.Size())
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		list = append(list, checkpoint.FromF32(t.Name, t.Shape, v))
	}
	return list
}

func save(t *testing.T, c arch.Config, tensors []checkpoint.Tensor, tok tokenizer.Tokenizer) *checkpoint.Folder {
	t.Helper()
	contents, err := Contents(c, tensors, tok)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/m"
	if err := checkpoint.Save(dir, contents); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What is written is read back as it was, the configuration and every bit of the weights.
func TestRoundTrip(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			want := weights(s.config)
			f := save(t, s.config, want, nil)
			if got := ModelType(f.Dir); got != s.as {
				t.Fatalf("written as %s, want %s", got, s.as)
			}
			if why := Why(s.config, want); (why == "") != (s.as != "mito") {
				t.Errorf("why: %q", why)
			}
			c, file, err := Read(f)
			if err != nil {
				t.Fatal(err)
			}
			if !c.Equal(s.config) {
				t.Errorf("read back\n%+v, want\n%+v", c, s.config)
			}
			if len(file.Tensors) != len(want) {
				t.Errorf("%d tensors, want %d", len(file.Tensors), len(want))
			}
			for _, w := range want {
				g, err := file.Get(w.Name, checkpoint.F32, w.Shape...)
				if err != nil || string(g.Data) != string(w.Data) {
					t.Errorf("%s: other values, %v", w.Name, err)
				}
			}
		})
	}
}

// GPT-2 lays matrices transposed, with query, key and value beside each other.
func TestGPT2Layout(t *testing.T) {
	c := shapes()["gpt2"].config
	want := weights(c)
	f := save(t, c, want, nil)
	fused, err := f.Weights.Get("transformer.h.1.attn.c_attn.weight", checkpoint.F32, 24, 72)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := fused.F32()
	bias, err := f.Weights.Get("transformer.h.1.attn.c_attn.bias", checkpoint.F32, 72)
	if err != nil {
		t.Fatal(err)
	}
	own, _ := checkpoint.NewFile("", want)
	for i, p := range []string{"q", "k", "v"} {
		w, _ := own.Tensor("model.layers.1.self_attn." + p + "_proj.weight")
		b, _ := own.Tensor("model.layers.1.self_attn." + p + "_proj.bias")
		wv, _ := w.F32()
		bv, _ := b.F32()
		gb, _ := bias.F32()
		for r := range 24 {
			if gb[24*i+r] != bv[r] {
				t.Fatalf("%s bias %d", p, r)
			}
			for k := range 24 {
				if all[k*72+24*i+r] != wv[r*24+k] {
					t.Fatalf("%s [%d,%d]", p, r, k)
				}
			}
		}
	}
	if _, err := f.Weights.Get("transformer.h.2.mlp.c_fc.weight", checkpoint.F32, 24, 20); err != nil {
		t.Error(err)
	}
}

// A GPT-2 that mito wrote without biases, and that was trained elsewhere since, has the biases that it got there; and one
// with windows of queries that GPT-Neo cannot hold is not written as one.
func TestHintsYieldToWeights(t *testing.T) {
	c := shapes()["gpt2 no biases"].config
	f := save(t, c, weights(c), nil)
	b, err := f.Weights.Tensor("transformer.h.0.mlp.c_proj.bias")
	if err != nil {
		t.Fatal(err)
	}
	b.Data[3] = 0x3f
	got, file, err := Read(f)
	if err != nil || !got.MLPBias || got.AttentionBias || !file.Has("model.layers.1.mlp.up_proj.bias") || file.Has("model.layers.1.self_attn.q_proj.bias") {
		t.Errorf("%+v, %v", got, err)
	}
	neo := shapes()["gpt_neo"].config
	neo.AttentionBias = true
	if why := Why(neo, weights(neo)); why == "" {
		t.Error("biases of queries are written as gpt_neo, which has none")
	}
	quiet := weights(neo)
	for i := range quiet {
		if n := quiet[i].Name; strings.HasSuffix(n, "_proj.bias") && strings.Contains(n, "self_attn") && !strings.Contains(n, "o_proj") {
			clear(quiet[i].Data)
		}
	}
	if why := Why(neo, quiet); why != "" {
		t.Error(why)
	}
}

// Files of BF16 and F16, without the prefix of the base model, with masks and with the head that is tied, are read.
func TestOtherSpellings(t *testing.T) {
	for name, s := range shapes() {
		if s.as == "mito" {
			continue
		}
		for _, as := range []checkpoint.DType{checkpoint.F16, checkpoint.BF16} {
			f := save(t, s.config, weights(s.config), nil)
			prefix := familyOf(s.as).names.prefix
			var half []checkpoint.Tensor
			for i := range f.Weights.Tensors {
				x := &f.Weights.Tensors[i]
				v, err := x.Float()
				if err != nil {
					t.Fatal(err)
				}
				h, err := checkpoint.FromF32As(as, strings.TrimPrefix(x.Name, prefix), x.Shape, v)
				if err != nil {
					t.Fatal(err)
				}
				half = append(half, h)
				if s.config.TieEmbeddings && x.Shape[0] == s.config.VocabSize {
					h.Name = "lm_head.weight"
					half = append(half, h)
				}
			}
			half = append(half, checkpoint.FromU8("h.0.attn.bias", []int{1, 1, 2, 2}, []byte{1, 0, 1, 1}),
				checkpoint.FromF32("layers.0.self_attn.rotary_emb.inv_freq", []int{1}, []float32{1}))
			var err error
			if f.Weights, err = checkpoint.NewFile("x", half); err != nil {
				t.Fatal(err)
			}
			c, file, err := Read(f)
			if err != nil || !c.Equal(s.config) {
				t.Errorf("%s as %v: %v", name, as, err)
				continue
			}
			for _, w := range weights(c) {
				g, err := file.Get(w.Name, checkpoint.F32, w.Shape...)
				if err != nil {
					t.Fatal(err)
				}
				a, _ := w.F32()
				b, _ := g.F32()
				for i := range a {
					if math.Abs(float64(a[i]-b[i])) > 1.0/256*math.Abs(float64(a[i])) {
						t.Fatalf("%s as %v: %s[%d] is %v, want %v", name, as, w.Name, i, b[i], a[i])
					}
				}
			}
		}
	}
}

// edit changes keys of a config.json; a nil value takes the key out.
func edit(t *testing.T, raw []byte, change map[string]any) []byte {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	for k, v := range change {
		if o[k] = v; v == nil {
			delete(o, k)
		}
	}
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What mito does not compute is refused with the key, never passed over.
func TestRefusals(t *testing.T) {
	all := shapes()
	for name, s := range map[string]struct {
		shape  string
		change map[string]any
		field  string
	}{
		"architecture":       {"edge", map[string]any{"model_type": "mamba"}, "model_type"},
		"no architecture":    {"edge", map[string]any{"model_type": nil}, "model_type"},
		"rope_scaling":       {"swiglu", map[string]any{"rope_parameters": nil, "rope_scaling": map[string]any{"type": "linear", "factor": 2}}, "rope_scaling.rope_type"},
		"rope of version 5":  {"swiglu", map[string]any{"rope_parameters": map[string]any{"rope_type": "llama3", "rope_theta": 10000}}, "rope_parameters.rope_type"},
		"factor alone":       {"swiglu", map[string]any{"rope_parameters": map[string]any{"rope_type": "default", "factor": 8}}, "rope_parameters.factor"},
		"theta by layer":     {"swiglu", map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_theta": 1}}}, "rope_parameters.full_attention"},
		"part of a head":     {"layernorm rope swiglu", map[string]any{"partial_rotary_factor": nil, "rope_parameters": map[string]any{"rope_type": "default"}}, "partial_rotary_factor"},
		"gelu by erf":        {"gpt2", map[string]any{"activation_function": "gelu"}, "activation_function"},
		"gate of gelu":       {"swiglu", map[string]any{"hidden_act": "gelu"}, "hidden_act"},
		"no act in apertus":  {"qk-norm", map[string]any{"hidden_act": nil}, "hidden_act"},
		"no rope in apertus": {"qk-norm", map[string]any{"rope_parameters": nil}, "rope_parameters"},
		"parallel":           {"layernorm rope swiglu", map[string]any{"use_parallel_residual": true}, "use_parallel_residual"},
		"cross attention":    {"gpt2", map[string]any{"add_cross_attention": true}, "add_cross_attention"},
		"attention_types":    {"gpt_neo", map[string]any{"attention_types": []any{[]any{[]any{"global"}, 2}}, "attention_layers": nil}, "attention_types"},
		"kind of attention":  {"gpt_neo", map[string]any{"attention_types": []any{[]any{[]any{"linear"}, 3}}, "attention_layers": nil}, "attention_types"},
		"layer_types":        {"swiglu qk-norm", map[string]any{"layer_types": []any{"full_attention"}}, "layer_types"},
		"chunked":            {"swiglu", map[string]any{"layer_types": []any{"chunked_attention"}}, "layer_types"},
		"text for a number":  {"edge", map[string]any{"hidden_size": "wide"}, "hidden_size"},
		"heads":              {"gpt2", map[string]any{"n_head": 5}, "num_attention_heads"},
		"no heads":           {"gpt2", map[string]any{"n_head": 0}, "num_attention_heads"},
		"many layers":        {"swiglu qk-norm", map[string]any{"num_hidden_layers": int64(1 << 40), "layer_types": nil}, "num_hidden_layers"},
		"head_dim of qwen3":  {"swiglu qk-norm", map[string]any{"head_dim": 0}, "head_dim"},
	} {
		c := all[s.shape].config
		f := save(t, c, weights(c), nil)
		f.Config = edit(t, f.Config, s.change)
		_, _, err := Read(f)
		var field *arch.FieldError
		if !errors.As(err, &field) || field.Field != s.field {
			t.Errorf("%s: %v, want a refusal of %s", name, err, s.field)
		}
	}
}

// Keys are read as transformers 4 and as 5 spell them.
func TestBothSpellings(t *testing.T) {
	c := shapes()["swiglu"].config
	f := save(t, c, weights(c), nil)
	for name, change := range map[string]map[string]any{
		"4":                        {"rope_parameters": nil, "rope_theta": 700},
		"5":                        {"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 700}, "rope_theta": nil},
		"4 with a scaling of none": {"rope_parameters": nil, "rope_theta": 700, "rope_scaling": map[string]any{"type": "default"}},
	} {
		got, err := Config(edit(t, f.Config, change))
		if err != nil || got.RoPETheta != 700 {
			t.Errorf("%s: theta %v, %v", name, got.RoPETheta, err)
		}
	}
	neo := shapes()["gpt_neo"].config
	f = save(t, neo, weights(neo), nil)
	for name, change := range map[string]map[string]any{
		"attention_layers": {"attention_types": nil},
		"attention_types":  {"attention_layers": nil, "attention_types": []any{[]any{[]any{"global", "local"}, 1}, []any{[]any{"global"}, 1}}},
	} {
		got, err := Config(edit(t, f.Config, change))
		if err != nil || len(got.LayerShapes) != 3 || got.LayerShapes[1].Window != 7 || got.LayerShapes[2].Window != 0 || got.LayerShapes[0].Scale != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	inverse, err := Config(edit(t, save(t, shapes()["gpt2"].config, weights(shapes()["gpt2"].config), nil).Config, map[string]any{"scale_attn_by_inverse_layer_idx": true}))
	if usual := float32(1 / math.Sqrt(6)); err != nil || inverse.Layer(2).Scale != usual/3 || inverse.Layer(0).Scale != usual {
		t.Errorf("scale by layer: %+v, %v", inverse, err)
	}
}

// Weights that do not fit are refused: missing, of another shape, or too many.
func TestWeightsThatDoNotFit(t *testing.T) {
	for _, shape := range []string{"edge", "gpt2", "gpt_neo"} {
		c := shapes()[shape].config
		f := save(t, c, weights(c), nil)
		whole := f.Weights.Tensors
		for i := range whole {
			rest := append(append([]checkpoint.Tensor(nil), whole[:i]...), whole[i+1:]...)
			f.Weights, _ = checkpoint.NewFile("x", rest)
			if _, _, err := Read(f); !errors.Is(err, checkpoint.ErrMissing) {
				t.Errorf("%s without %s: %v", shape, whole[i].Name, err)
			}
			wrong := whole[i]
			wrong.Shape = append([]int{1}, wrong.Shape...)
			f.Weights, _ = checkpoint.NewFile("x", append(rest, wrong))
			if _, _, err := Read(f); !errors.Is(err, checkpoint.ErrShape) {
				t.Errorf("%s with another shape of %s: %v", shape, whole[i].Name, err)
			}
		}
		for _, extra := range []string{"score.weight", "lm_head.weight"} {
			f.Weights, _ = checkpoint.NewFile("x", append(append([]checkpoint.Tensor(nil), whole...), checkpoint.FromF32(extra, []int{1}, []float32{2})))
			if _, _, err := Read(f); !errors.Is(err, checkpoint.ErrUnexpected) {
				t.Errorf("%s with %s: %v", shape, extra, err)
			}
		}
	}
}

// tokenizer_config.json keeps AutoTokenizer from a class of its own, and says the end of a text.
func TestTokenizerConfig(t *testing.T) {
	tok, err := tokenizer.NewChars("ab c", tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	c := shapes()["edge"].config
	contents, err := Contents(c, weights(c), tok)
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(contents.Extra[checkpoint.TokenizerConfig], &o); err != nil {
		t.Fatal(err)
	}
	if o["tokenizer_class"] != "PreTrainedTokenizerFast" || o["eos_token"] != tokenizer.EndOfText || o["pad_token"] != tokenizer.EndOfText || o["model_max_length"] != 24.0 {
		t.Errorf("%v", o)
	}
	if e := contents.Generation.EOS; len(e) != 1 || e[0] != tok.EOS() {
		t.Errorf("eos %v", e)
	}
}

// No config.json makes Read panic or give a configuration that cannot be.
func FuzzConfig(f *testing.F) {
	for _, s := range shapes() {
		contents, err := Contents(s.config, weights(s.config), nil)
		if err != nil {
			f.Fatal(err)
		}
		text, err := json.Marshal(contents.Config)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, fam, _, err := parse(raw)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if fam == nil || c.Layers > 64 {
			return
		}
		s := fam.source(&checkpoint.File{})
		for _, at := range fam.slots(&c) {
			if at.missing || at.extra {
				continue
			}
			if _, err := s.read(at); err == nil {
				t.Fatalf("%s is read from nothing", at.name)
			}
		}
	})
}
