package hf

import (
	"math"

	"mito/engine/arch"
)

// llamaNames are those of Llama, which mito's own are too.
func llamaNames(other map[arch.Part]string) names {
	n := names{prefix: "model.", layer: "model.layers.%d.", parts: map[arch.Part]string{}}
	for p := arch.Embedding; p <= arch.Head; p++ {
		n.parts[p] = p.String()
	}
	for p, name := range other {
		n.parts[p] = name
	}
	return n
}

func gptNames(attention, query, key, value, output string, conv, fused bool) names {
	return names{prefix: "transformer.", layer: "transformer.h.%d.", conv: conv, fused: fused, parts: map[arch.Part]string{
		arch.Embedding: "transformer.wte", arch.Positions: "transformer.wpe", arch.FinalNorm: "transformer.ln_f", arch.Head: "lm_head",
		arch.Norm1: "ln_1", arch.Norm2: "ln_2", arch.Up: "mlp.c_fc", arch.Down: "mlp.c_proj",
		arch.Query: attention + query, arch.Key: attention + key, arch.Value: attention + value, arch.Output: attention + output,
	}}
}

// Activations by their names in transformers. SwiGLU is silu in architectures with a gate.
var (
	gated   = [][2]string{{"silu", arch.ActSwiGLU}, {"swish", arch.ActSwiGLU}}
	ungated = [][2]string{
		{"relu2", arch.ActReLU2}, {"relu", arch.ActReLU}, {"gelu_pytorch_tanh", arch.ActGELU}, {"gelu_new", arch.ActGELU}, {"gelu_fast", arch.ActGELU},
	}
	gpt = [][2]string{
		{"gelu_new", arch.ActGELU}, {"gelu_pytorch_tanh", arch.ActGELU}, {"gelu_fast", arch.ActGELU}, {"relu", arch.ActReLU}, {"relu2", arch.ActReLU2},
	}
)

// families lists the architectures; a model is written as the first that it fits. The defaults are those of the classes in
// transformers 5.24.
var families = []*family{
	{
		name: "llama", class: "LlamaForCausalLM", norm: arch.NormRMS, position: arch.PositionRoPE, acts: gated, attnBias: byKey, bias: byKey,
		defaults: defaults{eps: 1e-6, theta: 10000, part: 1, act: "silu"}, read: readLlama, writer: writeLlama, names: llamaNames(nil),
	},
	{
		name: "mistral", class: "MistralForCausalLM", norm: arch.NormRMS, position: arch.PositionRoPE, acts: gated, window: oneWindow,
		defaults: defaults{kv: 8, eps: 1e-6, theta: 10000, part: 1, window: 4096, act: "silu"}, read: readLlama, writer: writeLlama, names: llamaNames(nil),
	},
	{
		name: "qwen3", class: "Qwen3ForCausalLM", norm: arch.NormRMS, position: arch.PositionRoPE, acts: gated, qkNorm: true, window: eachWindow, attnBias: byKey,
		defaults: defaults{kv: 32, head: 128, eps: 1e-6, theta: 10000, part: 1, window: 4096, act: "silu"}, read: readQwen3, writer: writeQwen3, names: llamaNames(nil),
	},
	{
		name: "arcee", class: "ArceeForCausalLM", norm: arch.NormRMS, position: arch.PositionRoPE, acts: ungated, attnBias: byKey, bias: byKey,
		defaults: defaults{eps: 1e-5, theta: 10000, part: 1, act: "relu2"}, read: readLlama, writer: writeLlama, names: llamaNames(nil),
	},
	{
		name: "apertus", class: "ApertusForCausalLM", norm: arch.NormRMS, position: arch.PositionRoPE, acts: ungated, qkNorm: true, attnBias: byKey,
		defaults: defaults{eps: 1e-5, theta: 12000000, part: 1, act: "xielu"}, read: readApertus, writer: writeLlama,
		names: llamaNames(map[arch.Part]string{arch.Norm1: "attention_layernorm", arch.Norm2: "feedforward_layernorm"}),
	},
	{
		name: "gpt2", class: "GPT2LMHeadModel", norm: arch.NormLayer, position: arch.PositionLearned, acts: gpt, square: true, mha: true,
		unscaled: 1, attnBias: always, bias: always,
		defaults: defaults{eps: 1e-5, tied: true, act: "gelu_new"}, read: readGPT2, writer: writeGPT2,
		names: gptNames("attn.", "c_attn", "c_attn", "c_attn", "c_proj", true, true),
	},
	{
		name: "gpt_neo", class: "GPTNeoForCausalLM", norm: arch.NormLayer, position: arch.PositionLearned, acts: gpt, square: true, mha: true,
		unscaled: 2, window: eachWindow, attnBias: onlyOutput, bias: always,
		defaults: defaults{eps: 1e-5, tied: true, act: "gelu_new", window: 256}, read: readGPTNeo, writer: writeGPTNeo,
		names: gptNames("attn.attention.", "q_proj", "k_proj", "v_proj", "out_proj", false, false),
	},
	{
		name: "stablelm", class: "StableLmForCausalLM", norm: arch.NormLayer, position: arch.PositionRoPE, acts: gated, square: true, attnBias: notOutput,
		defaults: defaults{kv: 32, eps: 1e-5, theta: 10000, part: 0.25, act: "silu"}, read: readStableLM, writer: writeStableLM, names: llamaNames(nil),
	},
	{
		name: "starcoder2", class: "Starcoder2ForCausalLM", norm: arch.NormLayer, position: arch.PositionRoPE, acts: ungated, window: oneWindow,
		attnBias: byKey, bias: byKey, oneBias: true,
		defaults: defaults{kv: 2, eps: 1e-5, theta: 10000, part: 1, tied: true, act: "gelu_pytorch_tanh"}, read: readStarcoder2, writer: writeStarcoder2,
		names: llamaNames(map[arch.Part]string{arch.Up: "mlp.c_fc", arch.Down: "mlp.c_proj"}),
	},
}

// readSizes reads the keys that most families share.
func readSizes(f *family, k *keys, c *arch.Config, eps string) {
	d := f.defaults
	c.VocabSize = get(k, 0, "vocab_size")
	c.HiddenSize = get(k, 0, "hidden_size")
	c.IntermediateSize = get(k, 0, "intermediate_size")
	c.Layers = get(k, 0, "num_hidden_layers")
	c.Heads = get(k, 0, "num_attention_heads")
	c.Context = get(k, 0, "max_position_embeddings")
	c.KVHeads = d.kv
	if _, there := k.raw["num_key_value_heads"]; there || d.kv == 0 { // null is as many as heads
		c.KVHeads = get(k, c.Heads, "num_key_value_heads")
	}
	c.HeadDim = d.head
	if c.HeadDim == 0 && c.Heads > 0 && c.HiddenSize%c.Heads == 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if !f.square {
		c.HeadDim = get(k, c.HeadDim, "head_dim")
	}
	c.NormEps = get(k, d.eps, eps)
	c.TieEmbeddings = get(k, d.tied, "tie_word_embeddings")
}

func readLlama(f *family, k *keys, c *arch.Config) {
	readSizes(f, k, c, "rms_norm_eps")
	k.rope(c, f.defaults.theta, f.defaults.part)
	f.readAct(k, c, "hidden_act")
	only(k, "pretraining_tp", 1, 1, 0)
	if f.attnBias == byKey {
		c.AttentionBias = get(k, false, "attention_bias")
	} else {
		only(k, "attention_bias", false, false)
	}
	if f.bias == byKey {
		c.MLPBias = get(k, false, "mlp_bias")
	} else {
		only(k, "mlp_bias", false, false)
	}
	if f.window == oneWindow {
		c.Window = window(k, f.defaults.window)
	}
	if f.window != eachWindow && k.has("layer_types") {
		for _, t := range get(k, []string(nil), "layer_types") {
			if t != "full_attention" && !(c.Window > 0 && t == "sliding_attention") {
				k.fail("layer_types", t, "the same attention in all layers")
			}
		}
	}
}

// window is sliding_window: null is none, and a key that is not there is the family's default.
func window(k *keys, missing int) int {
	if _, there := k.raw["sliding_window"]; there {
		missing = 0
	}
	return get(k, missing, "sliding_window")
}

func readApertus(f *family, k *keys, c *arch.Config) {
	if !k.has("rope_parameters") && !k.has("rope_scaling") {
		k.fail("rope_parameters", "missing, which is the scaling llama3 for Apertus", `rope_type "default": mito does not scale positions`)
	}
	only(k, "post_norm", false, false)
	readLlama(f, k, c)
}

func readQwen3(f *family, k *keys, c *arch.Config) {
	readLlama(f, k, c)
	width := window(k, f.defaults.window)
	if !get(k, false, "use_sliding_window") {
		width = 0
	}
	first := get(k, 28, "max_window_layers")
	kinds := get(k, []string(nil), "layer_types")
	if kinds != nil && len(kinds) != c.Layers {
		k.fail("layer_types", len(kinds), "one for each layer")
		return
	}
	readWindows(k, c, func(i int) int {
		slides := i >= first
		if kinds != nil {
			if kinds[i] != "full_attention" && kinds[i] != "sliding_attention" {
				k.fail("layer_types", kinds[i], "full_attention or sliding_attention")
			}
			slides = kinds[i] == "sliding_attention"
		}
		if !slides {
			return 0
		}
		return width
	})
}

// readWindows gives every layer its window.
func readWindows(k *keys, c *arch.Config, of func(i int) int) {
	if k.err != nil || c.Layers < 0 || c.Layers > arch.MaxLayers {
		return // Validate refuses it
	}
	layers := make([]arch.Layer, c.Layers)
	for i := range layers {
		layers[i] = arch.Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: of(i), Scale: c.Scale}
	}
	if len(layers) > 0 {
		c.SetLayers(layers)
	}
}

func readGPT2(f *family, k *keys, c *arch.Config) {
	c.VocabSize = get(k, 50257, "vocab_size")
	c.HiddenSize = get(k, 768, "n_embd", "hidden_size")
	c.Layers = get(k, 12, "n_layer", "num_hidden_layers")
	c.Heads = get(k, 12, "n_head", "num_attention_heads")
	c.Context = get(k, 1024, "n_positions", "n_ctx", "max_position_embeddings")
	c.IntermediateSize = get(k, 4*c.HiddenSize, "n_inner")
	c.NormEps = get(k, f.defaults.eps, "layer_norm_epsilon")
	c.TieEmbeddings = get(k, f.defaults.tied, "tie_word_embeddings")
	c.AttentionBias, c.MLPBias = true, true
	readHeads(k, c)
	f.readAct(k, c, "activation_function")
	only(k, "add_cross_attention", false, false)
	if !get(k, true, "scale_attn_weights") {
		c.Scale = 1
	}
	if get(k, false, "scale_attn_by_inverse_layer_idx") && k.err == nil && c.Layers <= arch.MaxLayers {
		scale := c.Scale
		if scale == 0 {
			scale = float32(1 / math.Sqrt(float64(c.HeadDim)))
		}
		layers := make([]arch.Layer, max(0, c.Layers))
		for i := range layers {
			layers[i] = arch.Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Scale: scale / float32(i+1)}
		}
		c.SetLayers(layers)
	}
}

// readHeads fills in heads that are as wide as the model allows, each with its own keys.
func readHeads(k *keys, c *arch.Config) {
	c.KVHeads = c.Heads
	if c.Heads < 1 || c.HiddenSize%c.Heads != 0 {
		k.fail("num_attention_heads", c.Heads, "a divisor of the width of the model")
		return
	}
	c.HeadDim = c.HiddenSize / c.Heads
}

func readGPTNeo(f *family, k *keys, c *arch.Config) {
	c.VocabSize = get(k, 50257, "vocab_size")
	c.HiddenSize = get(k, 2048, "hidden_size")
	c.Layers = get(k, 24, "num_layers", "num_hidden_layers")
	c.Heads = get(k, 16, "num_heads", "num_attention_heads")
	c.Context = get(k, 2048, "max_position_embeddings")
	c.IntermediateSize = get(k, 4*c.HiddenSize, "intermediate_size")
	c.NormEps = get(k, f.defaults.eps, "layer_norm_epsilon")
	c.TieEmbeddings = get(k, f.defaults.tied, "tie_word_embeddings")
	c.AttentionBias, c.MLPBias, c.Scale = true, true, 1
	readHeads(k, c)
	f.readAct(k, c, "activation_function")
	kinds := get(k, []string(nil), "attention_layers")
	if types := get(k, [][2]any(nil), "attention_types"); types != nil || kinds == nil {
		kinds = expand(k, types, c.Layers)
	}
	width := get(k, f.defaults.window, "window_size")
	if k.err == nil && len(kinds) != c.Layers {
		k.fail("attention_types", len(kinds), "one for each layer")
	}
	readWindows(k, c, func(i int) int {
		switch kinds[i] {
		case "local":
			return width
		case "global":
		default:
			k.fail("attention_types", kinds[i], "global or local")
		}
		return 0
	})
}

// expand turns attention_types, such as [[["global", "local"], 12]], into one kind for each layer. Missing, it is that.
func expand(k *keys, types [][2]any, layers int) []string {
	if types == nil {
		types = [][2]any{{[]any{"global", "local"}, float64(12)}}
	}
	var kinds []string
	for _, t := range types {
		list, ok := t[0].([]any)
		times, number := t[1].(float64)
		if !ok || !number || times < 0 || times > arch.MaxLayers || len(list) > arch.MaxLayers {
			k.fail("attention_types", "another kind of list", `a list such as [[["global", "local"], 12]]`)
			return nil
		}
		for range int(times) {
			for _, kind := range list {
				s, _ := kind.(string)
				if kinds = append(kinds, s); len(kinds) > layers {
					return kinds // one too many is refused already
				}
			}
		}
	}
	return kinds
}

func readStableLM(f *family, k *keys, c *arch.Config) {
	readSizes(f, k, c, "layer_norm_eps")
	k.rope(c, f.defaults.theta, f.defaults.part)
	f.readAct(k, c, "hidden_act")
	only(k, "qk_layernorm", false, false)
	only(k, "use_parallel_residual", false, false)
	c.AttentionBias = get(k, false, "use_qkv_bias")
}

func readStarcoder2(f *family, k *keys, c *arch.Config) {
	readSizes(f, k, c, "norm_epsilon")
	k.rope(c, f.defaults.theta, f.defaults.part)
	f.readAct(k, c, "hidden_act")
	c.Window = window(k, 0)
	c.AttentionBias = get(k, true, "use_bias")
	c.MLPBias = c.AttentionBias
}
