package hf

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// modeling is the code that a folder of model_type mito carries for transformers.
//
//go:embed modeling_mito.py
var modeling []byte

// Contents is what a folder of a model holds: config.json and weights of an architecture of transformers where one computes
// the same, else of model_type mito with the model's code; the tokenizer, unless it is nil, with what AutoTokenizer needs to
// take it as it is; and generation_config.json. The tensors are mito's, F32. Errors: *arch.FieldError,
// *checkpoint.FormatError.
func Contents(c arch.Config, tensors []checkpoint.Tensor, tok tokenizer.Tokenizer) (*checkpoint.Contents, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := &checkpoint.Contents{Generation: &checkpoint.GenerationConfig{}, Extra: map[string][]byte{}}
	f, err := choose(&c, tensors)
	if err != nil {
		return nil, err
	}
	o := map[string]any{}
	if f != nil {
		if h := f.keys(&c, o); h != (hints{}) {
			o[hintsKey] = h
		}
		if out.Tensors, err = f.write(&c, tensors); err != nil {
			return nil, err
		}
	} else {
		if o, err = custom(c); err != nil {
			return nil, err
		}
		out.Tensors = tensors
		out.Extra[checkpoint.ModelingName] = modeling
	}
	addTokens(o, tok)
	out.Config = o
	return out, addTokenizer(out, tok, c.Context)
}

// Why says why no architecture of transformers computes what a model does, "" where one does: such a folder needs
// trust_remote_code. tensors may be nil; then what its weights are is not looked at.
func Why(c arch.Config, tensors []checkpoint.Tensor) string {
	if f, err := choose(&c, tensors); f != nil || err != nil {
		return ""
	}
	var words []string
	add := func(on bool, word string) {
		if on {
			words = append(words, word)
		}
	}
	add(c.AuxVocab > 0, "a second output head")
	add(c.PLEDim > 0, "per-layer embeddings")
	add(!uniform(&c), "layers of unequal shape")
	add(windows(&c) != noWindow, "a sliding window of "+fmt.Sprint(c.Window))
	add(c.Norm == arch.NormLayer, "LayerNorm")
	add(c.Position == arch.PositionLearned, "learned positions")
	add(c.QKNorm, "QK-norm")
	add(c.KVHeads != c.Heads, "grouped-query attention")
	add(c.AttentionBias || c.MLPBias, "biases")
	add(c.Scale != 0, "a scale of attention")
	words = append(words, c.Activation)
	return strings.Join(words, ", ")
}

// choose finds the family that a model is written as, nil where there is none.
func choose(c *arch.Config, tensors []checkpoint.Tensor) (*family, error) {
	own, err := checkpoint.NewFile("", tensors)
	if err != nil {
		return nil, err
	}
	for _, f := range families {
		if f.reason(c) != "" {
			continue
		}
		fits := true
		for _, s := range f.slots(c) {
			if s.missing && own.Has(s.tensor.Name) {
				t, err := own.Tensor(s.tensor.Name)
				if err != nil {
					return nil, err
				}
				fits = fits && zeros(t)
			}
		}
		if fits {
			return f, nil
		}
	}
	return nil, nil
}

// keys writes config.json, and returns what its keys do not say.
func (f *family) keys(c *arch.Config, o map[string]any) (h hints) {
	o["model_type"], o["architectures"] = f.name, []string{f.class}
	o["vocab_size"], o["tie_word_embeddings"] = c.VocabSize, c.TieEmbeddings
	addCommon(o)
	f.writer(f, c, o)
	no := false
	if f.attnBias == always && !c.AttentionBias || f.attnBias == onlyOutput && !c.AttentionBias {
		h.AttentionBias = &no
	}
	if f.bias == always && !c.MLPBias {
		h.MLPBias = &no
	}
	if c.Window > 0 && windows(c) == noWindow && c.LayerShapes == nil {
		h.Window = c.Window
	}
	return h
}

// addCommon adds what does not depend on the architecture. transformers 4 reads torch_dtype, 5 dtype.
func addCommon(o map[string]any) {
	o["torch_dtype"], o["dtype"], o["use_cache"] = "float32", "float32", true
}

// addTokens says which tokens begin and end a text; null is none, where a missing key would be the architecture's own.
func addTokens(o map[string]any, tok tokenizer.Tokenizer) {
	o["bos_token_id"], o["eos_token_id"], o["pad_token_id"] = nil, nil, nil
	if tok != nil && tok.EOS() >= 0 {
		o["eos_token_id"], o["pad_token_id"] = tok.EOS(), tok.EOS()
	}
}

func sizes(c *arch.Config, o map[string]any, eps string) {
	maps.Copy(o, map[string]any{
		"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads,
		"num_key_value_heads": c.KVHeads, "max_position_embeddings": c.Context, eps: c.NormEps, "attention_dropout": 0,
	})
}

// rope writes the base of RoPE as transformers 4 and 5 spell it. Without rope_scaling the Apertus of 4 scales.
func rope(c *arch.Config, o map[string]any) {
	o["rope_theta"], o["rope_scaling"] = c.RoPETheta, nil
	o["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": c.RoPETheta}
}

func writeLlama(f *family, c *arch.Config, o map[string]any) {
	sizes(c, o, "rms_norm_eps")
	rope(c, o)
	o["head_dim"], o["hidden_act"] = c.HeadDim, f.act(c.Activation)
	if f.attnBias == byKey {
		o["attention_bias"] = c.AttentionBias
	}
	if f.bias == byKey {
		o["mlp_bias"] = c.MLPBias
	}
	if f.window == oneWindow {
		o["sliding_window"] = widest(c)
	}
}

// widest is the width of the windows as sliding_window, nil for none.
func widest(c *arch.Config) any {
	w := 0
	for i := range c.Layers {
		w = max(w, c.Layer(i).Window)
	}
	if windows(c) == noWindow {
		return nil
	}
	return w
}

func writeQwen3(f *family, c *arch.Config, o map[string]any) {
	writeLlama(f, c, o)
	kinds, first := make([]string, c.Layers), c.Layers
	for i := range kinds {
		kinds[i] = "full_attention"
		if w := c.Layer(i).Window; w > 0 && windows(c) != noWindow {
			kinds[i], first = "sliding_attention", min(first, i)
		}
	}
	o["sliding_window"], o["use_sliding_window"] = widest(c), windows(c) != noWindow
	o["max_window_layers"], o["layer_types"] = first, kinds
}

func writeGPT2(f *family, c *arch.Config, o map[string]any) {
	maps.Copy(o, map[string]any{
		"n_embd": c.HiddenSize, "n_inner": c.IntermediateSize, "n_layer": c.Layers, "n_head": c.Heads, "n_positions": c.Context, "n_ctx": c.Context,
		"layer_norm_epsilon": c.NormEps, "activation_function": f.act(c.Activation), "attn_pdrop": 0, "embd_pdrop": 0, "resid_pdrop": 0,
		"scale_attn_weights": c.Scale != 1,
	})
}

func writeGPTNeo(f *family, c *arch.Config, o map[string]any) {
	kinds, types := make([]string, c.Layers), make([]any, c.Layers)
	for i := range kinds {
		kinds[i] = "global"
		if w := c.Layer(i).Window; w > 0 && windows(c) != noWindow {
			kinds[i] = "local"
		}
		types[i] = []any{[]string{kinds[i]}, 1}
	}
	window := widest(c)
	if window == nil {
		window = f.defaults.window
	}
	maps.Copy(o, map[string]any{
		"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_layers": c.Layers, "num_heads": c.Heads, "max_position_embeddings": c.Context,
		"layer_norm_epsilon": c.NormEps, "activation_function": f.act(c.Activation), "attention_dropout": 0, "embed_dropout": 0, "resid_dropout": 0,
		"attention_types": types, "attention_layers": kinds, "window_size": window,
	})
}

func writeStableLM(f *family, c *arch.Config, o map[string]any) {
	sizes(c, o, "layer_norm_eps")
	rope(c, o)
	o["rope_parameters"].(map[string]any)["partial_rotary_factor"] = 1.0
	maps.Copy(o, map[string]any{
		"hidden_act": f.act(c.Activation), "partial_rotary_factor": 1.0, "use_qkv_bias": c.AttentionBias, "qk_layernorm": false, "use_parallel_residual": false,
		"hidden_dropout": 0,
	})
}

func writeStarcoder2(f *family, c *arch.Config, o map[string]any) {
	sizes(c, o, "norm_epsilon")
	rope(c, o)
	maps.Copy(o, map[string]any{
		"head_dim": c.HeadDim, "hidden_act": f.act(c.Activation), "use_bias": c.AttentionBias, "sliding_window": widest(c), "residual_dropout": 0, "embedding_dropout": 0,
	})
}

// custom is the config.json of model_type mito, with what transformers needs to find the code beside it.
func custom(c arch.Config) (map[string]any, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", checkpoint.ConfigName, err)
	}
	o := map[string]any{}
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("%s: %w", checkpoint.ConfigName, err)
	}
	module := strings.TrimSuffix(checkpoint.ModelingName, ".py")
	o["architectures"] = []string{"MitoForCausalLM"}
	o["auto_map"] = map[string]string{"AutoConfig": module + ".MitoConfig", "AutoModelForCausalLM": module + ".MitoForCausalLM"}
	addCommon(o)
	o["use_cache"] = false
	return o, nil
}

// tokenizerConfig is tokenizer_config.json. Without tokenizer_class AutoTokenizer takes the architecture's own class, which
// changes what tokenizer.json says: of characters it drops the spaces.
func tokenizerConfig(tok tokenizer.Tokenizer, context int) ([]byte, error) {
	o := map[string]any{
		"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context, "clean_up_tokenization_spaces": false,
	}
	if eos := tok.EOS(); eos >= 0 {
		text, err := tok.AppendToken(nil, eos)
		if err != nil {
			return nil, err
		}
		o["eos_token"], o["pad_token"] = string(text), string(text)
	}
	return files.EncodeJSON(o)
}

// addTokenizer adds the tokenizer, unless it is nil, with what AutoTokenizer needs to take it as it is.
func addTokenizer(out *checkpoint.Contents, tok tokenizer.Tokenizer, context int) error {
	if tok == nil {
		return nil
	}
	out.SaveTokenizer = tok.Save
	if eos := tok.EOS(); eos >= 0 {
		out.Generation.EOS = checkpoint.TokenIDs{eos}
	}
	text, err := tokenizerConfig(tok, context)
	out.Extra[checkpoint.TokenizerConfig] = text
	return err
}
