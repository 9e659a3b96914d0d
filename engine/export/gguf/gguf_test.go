package gguf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

func config(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 23, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 500, TieEmbeddings: true,
	}
	if change != nil {
		change(&c)
	}
	return c
}

func gpt(c *arch.Config) {
	c.Norm, c.Position, c.Activation, c.KVHeads, c.RoPETheta = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4, 10000
}

var shapes = map[string]struct {
	kind   string
	change func(c *arch.Config)
}{
	"edge":               {"arcee", func(c *arch.Config) {}},
	"edge, wide, untied": {"arcee", func(c *arch.Config) { c.HeadDim, c.TieEmbeddings = 12, false }},
	"qk-norm":            {"apertus", func(c *arch.Config) { c.QKNorm = true }},
	"qk-norm, untied":    {"apertus", func(c *arch.Config) { c.QKNorm, c.TieEmbeddings, c.AttentionBias = true, false, true }},
	"swiglu":             {"llama", func(c *arch.Config) { c.Activation = arch.ActSwiGLU }},
	"swiglu, biases":     {"llama", func(c *arch.Config) { c.Activation, c.MLPBias, c.AttentionBias = arch.ActSwiGLU, true, true }},
	"swiglu, qk-norm":    {"qwen3", func(c *arch.Config) { c.Activation, c.QKNorm = arch.ActSwiGLU, true }},
	"gpt2":               {"gpt2", gpt},
	"gpt2, biases":       {"gpt2", func(c *arch.Config) { gpt(c); c.MLPBias, c.AttentionBias = true, true }},
	"starcoder2":         {"starcoder2", func(c *arch.Config) { c.Norm, c.Activation, c.MLPBias = arch.NormLayer, arch.ActGELU, true }},
	"stablelm":           {"stablelm", func(c *arch.Config) { c.Norm, c.Activation = arch.NormLayer, arch.ActSwiGLU }},
}

func random(c arch.Config) []checkpoint.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	v := shape.Values{}
	for _, t := range c.Tensors() {
		values := make([]float32, t.Size())
		for i := range values {
			values[i] = float32(r.NormFloat64())
		}
		v[t.Name] = values
	}
	return shape.Tensors(&c, v)
}

func write(t testing.TB, c arch.Config, tok tokenizer.Tokenizer, as Type) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, c, random(c), tok, Options{Type: as, Name: "test"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for name, s := range shapes {
		c := config(s.change)
		data := write(t, c, nil, F32)
		got, tensors, tok, err := Read(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !got.Equal(c) || tok != nil {
			t.Errorf("%s: read %+v, wrote %+v", name, got, c)
		}
		for i, want := range random(c) {
			if g := tensors[i]; g.Name != want.Name || !slices.Equal(g.Shape, want.Shape) || !bytes.Equal(g.Data, want.Data) {
				t.Errorf("%s: %s differs", name, want.Name)
			}
		}
		f, err := parse(data)
		if err != nil || f.pairs["general.architecture"] != s.kind {
			t.Errorf("%s: written as %v, want %s; %v", name, f.pairs["general.architecture"], s.kind, err)
		}
		if _, ok := f.pairs["tokenizer.ggml.tokens"]; ok || f.pairs[s.kind+".vocab_size"] != int64(c.VocabSize) {
			t.Errorf("%s: tokens without a tokenizer, or no vocab_size", name)
		}
	}
}

// TestRounding compares what comes back with half a step of each type, from the values themselves.
func TestRounding(t *testing.T) {
	c := config(nil)
	for as, step := range map[Type]func(top float64) float64{
		F16:  func(top float64) float64 { return top / 1024 },
		Q8_0: func(top float64) float64 { return top / 127 * 1.125 }, // the scale is rounded too: 127 steps times 2^-11 beside half a step
		Q4_0: func(top float64) float64 { return top / 8 * 2 },       // codes go from -8 to 7: the far end is cut by a step
	} {
		_, tensors, _, err := Read(write(t, c, nil, as))
		if err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for i, w := range random(c) {
			want, _ := w.F32()
			got, _ := tensors[i].F32()
			if len(w.Shape) == 1 {
				if !slices.Equal(got, want) {
					t.Errorf("%s: the gain %s is not kept as F32", as, w.Name)
				}
				continue
			}
			for b := 0; b < len(want); b += block {
				top := 0.0
				for _, v := range want[b:][:block] {
					top = max(top, math.Abs(float64(v)))
				}
				for k := range block {
					d := math.Abs(float64(got[b+k]) - float64(want[b+k]))
					worst = max(worst, d)
					if strings.Contains(w.Name, "q_proj") || strings.Contains(w.Name, "k_proj") {
						continue // rows are reordered, blocks stay: checked by the rest
					}
					if d > step(top)/2 {
						t.Fatalf("%s: %s[%d] is %v of %v: more than half a step", as, w.Name, b+k, got[b+k], want[b+k])
					}
				}
			}
		}
		if worst == 0 {
			t.Errorf("%s: nothing was rounded", as)
		}
	}
}

// TestBlocks has bytes worked out by hand from ggml's reference.
func TestBlocks(t *testing.T) {
	x := make([]float32, block)
	x[0], x[1], x[2], x[17] = -127, 0.5, -1.5, 64
	got, err := encode(Q8_0, "", x)
	want := append([]byte{0x00, 0x3c}, make([]byte, block)...) // 1.0 as F16
	want[2], want[3], want[4], want[19] = 0x81, 1, 0xfe, 64    // halves are rounded away from zero
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Q8_0 % x, want % x; %v", got, want, err)
	}
	x = make([]float32, block)
	x[0], x[1], x[16] = -8, 7, 3 // the step is -8/-8
	got, err = encode(Q4_0, "", x)
	want = append([]byte{0x00, 0x3c}, bytes.Repeat([]byte{0x88}, block/2)...)
	want[2], want[3] = 0xb0, 0x8f
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Q4_0 % x, want % x; %v", got, want, err)
	}
	back, err := decode(Q4_0, "", got)
	if err != nil || !slices.Equal(back, x) {
		t.Errorf("Q4_0 back: %v, %v", back, err)
	}
	x[0] = 1e6
	if _, err := encode(F16, "", x); !errors.Is(err, checkpoint.ErrNotFinite) {
		t.Errorf("F16 of 1e6: %v", err)
	}
}

// TestRowsThatAreNoBlocks: a matrix whose rows are no multiple of 32 becomes F16.
func TestRowsThatAreNoBlocks(t *testing.T) {
	c := config(func(c *arch.Config) { c.IntermediateSize = 40 })
	f, err := parse(write(t, c, nil, Q8_0))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Type{"blk.0.ffn_down.weight": F16, "blk.0.ffn_up.weight": Q8_0, "token_embd.weight": Q8_0, "output_norm.weight": F32} {
		if got := f.tensors[f.byName[name]].t; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestTokenizers(t *testing.T) {
	long := "the cat and the hat; the café, 日本 🙂 12\n"
	chars, err := tokenizer.NewChars(long, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := tokenizer.NewChars("abcdefghijkl\\\n")
	if err != nil {
		t.Fatal(err)
	}
	bpe, err := tokenizer.TrainBPE(strings.Repeat(long, 9), 300, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		tok   tokenizer.Tokenizer
		kind  string
		early bool
	}{"characters": {chars, "gpt2", false}, "bytes": {plain, "rwkv", false}, "bpe": {bpe, "gpt2", false}} {
		c := config(func(c *arch.Config) { c.VocabSize = x.tok.VocabSize() + 3 })
		data := write(t, c, x.tok, F32)
		_, _, got, err := Read(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Hash() != x.tok.Hash() {
			t.Errorf("%s: another tokenizer came back", name)
		}
		f, _ := parse(data)
		if f.pairs["tokenizer.ggml.model"] != x.kind || EndsEarly(x.tok) != x.early {
			t.Errorf("%s: kind %v, want %s", name, f.pairs["tokenizer.ggml.model"], x.kind)
		}
		tokens, types := f.pairs["tokenizer.ggml.tokens"].([]any), f.pairs["tokenizer.ggml.token_type"].([]any)
		if len(tokens) != c.VocabSize || len(types) != c.VocabSize || types[c.VocabSize-1] != int64(tokenUnused) {
			t.Errorf("%s: %d tokens, %d types", name, len(tokens), len(types))
		}
		if eos := x.tok.EOS(); eos >= 0 && (f.pairs["tokenizer.ggml.eos_token_id"] != int64(eos) || types[eos] != int64(tokenControl)) {
			t.Errorf("%s: end %v of type %v", name, f.pairs["tokenizer.ggml.eos_token_id"], types[eos])
		}
	}
	endless, err := tokenizer.NewChars(long)
	if err != nil || !EndsEarly(endless) {
		t.Errorf("characters of several bytes without an end: %v", err)
	}
	f, _ := parse(write(t, config(func(c *arch.Config) { c.VocabSize = chars.VocabSize() }), chars, F32))
	if merges := f.pairs["tokenizer.ggml.merges"].([]any); !slices.Contains(merges, any("Ã ©")) || !slices.Contains(merges, any("æĹ ¥")) {
		t.Errorf("merges %v", merges)
	}
}

// Tokenizers that cut texts as Llama 3, Qwen, GPT-4o and Mistral do come back with their patterns and templates; other
// patterns, and merges that llama.cpp would not pass over, are refused.
func TestPatterns(t *testing.T) {
	bpe, err := tokenizer.TrainBPE(strings.Repeat("the cat and the hat; ", 9), 290, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := bpe.MarshalJSON()
	made := func(pattern string, ignore bool, post string) tokenizer.Tokenizer {
		t.Helper()
		var top map[string]any
		if err := json.Unmarshal(text, &top); err != nil {
			t.Fatal(err)
		}
		top["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": pattern}, "behavior": "Isolated", "invert": false},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
		}}
		top["model"].(map[string]any)["ignore_merges"] = ignore
		top["post_processor"] = json.RawMessage(post)
		edited, _ := json.Marshal(top)
		tok, err := tokenizer.Parse(edited)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	const begin = `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
		"pair": [], "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [%d], "tokens": ["<|endoftext|>"]}}}`
	post := fmt.Sprintf(begin, bpe.EOS())
	for name, pattern := range tokenizer.Patterns {
		tok := made(pattern, ignoring[name], post)
		c := config(func(c *arch.Config) { c.VocabSize = tok.VocabSize() })
		data := write(t, c, tok, F32)
		_, _, got, err := Read(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before, after := got.Template()
		if got.Hash() != tok.Hash() || !slices.Equal(before, []int32{bpe.EOS()}) || after != nil {
			t.Errorf("%s: another tokenizer came back, with %v and %v round a text", name, before, after)
		}
		if f, _ := parse(data); f.pairs["tokenizer.ggml.pre"] != name || f.pairs["tokenizer.ggml.add_bos_token"] != true {
			t.Errorf("%s: written as %v", name, f.pairs["tokenizer.ggml.pre"])
		}
		for what, other := range map[string]tokenizer.Tokenizer{"another pattern": made("a|"+pattern, ignoring[name], "null"), "merges": made(pattern, !ignoring[name], "null")} {
			if _, err := tokenizerPairs(other, c.VocabSize); err == nil || !strings.Contains(err.Error(), "--no-tokenizer") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

// A Unicode form, which the keys of llama.cpp do not say, comes back, and is told; so are patterns that llama.cpp has in a simpler
// form.
func TestNotes(t *testing.T) {
	bpe, err := tokenizer.TrainBPE(strings.Repeat("the cat and the hat; ", 9), 290, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := bpe.MarshalJSON()
	split := func(name string) string {
		p, _ := json.Marshal(tokenizer.Patterns[name])
		return `"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": ` + string(p) + `}, "behavior": "Isolated", "invert": false},
			{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}`
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]string{"": "{}", "brings texts into NFC": `{"normalizer": {"type": "NFC"}}`, "A to Z": "{" + split("gpt-4o") + "}"} {
		edited := maps.Clone(whole)
		if err := json.Unmarshal([]byte(change), &edited); err != nil {
			t.Fatal(err)
		}
		made, _ := json.Marshal(edited)
		tok, err := tokenizer.Parse(made)
		if err != nil {
			t.Fatal(err)
		}
		notes, err := Notes(tok)
		if err != nil || (says == "") != (len(notes) == 0) || says != "" && !strings.Contains(strings.Join(notes, ""), says) {
			t.Errorf("%s: %v, %v", change, notes, err)
		}
		_, _, got, err := Read(write(t, config(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), tok, F32))
		if err != nil || got.Hash() != tok.Hash() {
			t.Errorf("%s: another tokenizer came back: %v", change, err)
		}
	}
	endless, err := tokenizer.NewChars("the café, 日本 🙂 12")
	if err != nil {
		t.Fatal(err)
	}
	if notes, err := Notes(endless); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "--ignore-eos") {
		t.Errorf("%v, %v", notes, err)
	}
	if notes, err := Notes(nil); err != nil || notes != nil {
		t.Errorf("of no tokenizer: %v, %v", notes, err)
	}
}

func TestRefusedModels(t *testing.T) {
	for says, change := range map[string]func(c *arch.Config){
		"--full-attention writes a twin": func(c *arch.Config) { c.Window = 5 },
		"layers 0 and 1 differ": func(c *arch.Config) {
			c.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 64}, {Heads: 2, KVHeads: 2, IntermediateSize: 64}})
		},
		"has no architecture of rmsnorm":   func(c *arch.Config) { c.Activation = arch.ActReLU },
		"scales its attention by 1":        func(c *arch.Config) { c.Scale = 1 },
		"per-layer embeddings (ple_dim 5)": func(c *arch.Config) { c.PLEDim = 5 },
		"second output head":               func(c *arch.Config) { c.AuxVocab = 3 },
		"grouped-query attention":          func(c *arch.Config) { gpt(c); c.KVHeads = 2 },
		"mlp.up_proj has a bias":           func(c *arch.Config) { c.MLPBias = true },
		"vocab_size is 0":                  func(c *arch.Config) { c.VocabSize = 0 },
		"self_attn.o_proj has a bias, whi": func(c *arch.Config) { c.AttentionBias = true },
	} {
		c := config(change)
		var tensors []checkpoint.Tensor
		if c.VocabSize > 0 {
			tensors = random(c)
		}
		if err := Write(&bytes.Buffer{}, c, tensors, nil, Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	c := config(nil)
	if err := Write(&bytes.Buffer{}, c, random(c)[1:], nil, Options{}); !errors.Is(err, checkpoint.ErrMissing) {
		t.Errorf("a tensor missing: %v", err)
	}
}

// TestRefusedFiles changes metadata and tensors of a good file.
func TestRefusedFiles(t *testing.T) {
	c := config(func(c *arch.Config) { c.QKNorm = true })
	make := func(pairs func(p []pair) []pair, tensors func(l []tensor) []tensor) []byte {
		f := familyOf("apertus")
		v, err := shape.Floats(&c, random(c))
		if err != nil {
			t.Fatal(err)
		}
		list, err := f.tensors(&c, v, F32)
		if err != nil {
			t.Fatal(err)
		}
		p := f.metadata(&c, Options{})
		if pairs != nil {
			p = pairs(p)
		}
		if tensors != nil {
			list = tensors(list)
		}
		var b bytes.Buffer
		if err := writeFile(&b, p, list); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	set := func(key string, value any) []byte {
		return make(func(p []pair) []pair {
			p = slices.DeleteFunc(p, func(x pair) bool { return x.key == key })
			if value != nil {
				p = append(p, pair{key, value})
			}
			return p
		}, nil)
	}
	if _, _, _, err := Read(make(nil, nil)); err != nil {
		t.Fatal(err)
	}
	for says, data := range map[string][]byte{
		`general.architecture is "mamba"; mito has arcee`: set("general.architecture", "mamba"),
		"apertus.block_count is missing":                  set("apertus.block_count", nil),
		"does not scale positions":                        set("apertus.rope.scaling.type", "yarn"),
		"mito turns whole heads":                          set("apertus.rope.dimension_count", uint32(4)),
		"expert_count is 8":                               set("apertus.expert_count", uint32(8)),
		"sliding_window is 4":                             set("apertus.attention.sliding_window", uint32(4)),
		"mito has no other xIELU":                         set("xielu.beta", []float32{0.5, 0.5}),
		"one number for each layer":                       set("xielu.beta", []float32{0, 0, 0}),
		"different from layer to layer":                   set("apertus.attention.head_count_kv", []int32{2, 4}),
		`tokenizer.ggml.model is "llama"`:                 set("tokenizer.ggml.model", "llama"),
		"want a power of two":                             set("general.alignment", uint32(3)),
		"of shape":                                        nil,
		"scales positions": make(nil, func(l []tensor) []tensor {
			return append(l, tensor{"rope_freqs.weight", F32, []int{4}, make16()})
		}),
		"mito's apertus has no place for it": make(nil, func(l []tensor) []tensor {
			return append(l, tensor{"blk.0.ffn_up.scale", F32, []int{4}, make16()})
		}),
		"is Q4_K; mito reads F32": make(nil, func(l []tensor) []tensor { l[1].t = 12; return l }),
		`"blk.1.ffn_up.weight"`: make(nil, func(l []tensor) []tensor {
			return slices.DeleteFunc(l, func(t tensor) bool { return t.name == "blk.1.ffn_up.weight" })
		}),
		"is [33], expected [32]": make(nil, func(l []tensor) []tensor { l[1].shape, l[1].data = []int{33}, make132(); return l }),
		"a name occurs twice":    make(nil, func(l []tensor) []tensor { return append(l, l[0]) }),
	} {
		if data == nil {
			continue
		}
		if _, _, _, err := Read(data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	got, tensors, _, err := Read(set("tokenizer.ggml.model", "llama"))
	if !IsTokenizer(err) || !got.Equal(c) || len(tensors) == 0 {
		t.Errorf("a tokenizer of another kind: the model is not whole; %v", err)
	}
	good := make(nil, nil)
	for n := range len(good) {
		if n%97 != 0 && n > 3000 {
			continue
		}
		var fe *files.FormatError
		if _, _, _, err := Read(good[:n]); !errors.As(err, &fe) {
			t.Fatalf("cut at %d of %d: %v", n, len(good), err)
		}
	}
}

func make16() []byte  { return make([]byte, 16) }
func make132() []byte { return make([]byte, 132) }

func FuzzRead(f *testing.F) {
	for _, name := range []string{"edge", "qk-norm", "gpt2, biases"} {
		c := config(shapes[name].change)
		c.VocabSize, c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 3, 8, 4, 1, 2, 2, 4
		tok, err := tokenizer.NewChars("ab\n")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(write(f, c, tok, F32))
		f.Add(write(f, c, nil, F16))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, tensors, _, err := Read(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if _, err := shape.Floats(&c, tensors); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDamage reads a file with bytes changed at random: an error or a valid model, and never a panic.
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	tok, err := tokenizer.NewChars("ab\n")
	if err != nil {
		t.Fatal(err)
	}
	c := config(shapes["qk-norm"].change)
	c.VocabSize, c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 3, 8, 4, 1, 2, 2, 4
	good := write(t, c, tok, F32)
	read := 0
	for range 20000 {
		data := slices.Clone(good)
		for range 1 + r.IntN(3) {
			data[r.IntN(3000)] = []byte{0, 1, 0xff, byte(r.Uint32())}[r.IntN(4)]
		}
		c, tensors, _, err := Read(data)
		if err != nil {
			continue
		}
		read++
		if _, err := shape.Floats(&c, tensors); err != nil {
			t.Fatal(err)
		}
	}
	if read == 0 || read == 20000 {
		t.Errorf("%d of 20000 were read", read)
	}
}

// TestLayout looks up what llama.cpp's loaders and graphs read, which a round trip cannot tell.
func TestLayout(t *testing.T) {
	open := func(name string) (*file, arch.Config, shape.Values) {
		c := config(shapes[name].change)
		f, err := parse(write(t, c, nil, F32))
		if err != nil {
			t.Fatal(err)
		}
		v, err := shape.Floats(&c, random(c))
		if err != nil {
			t.Fatal(err)
		}
		return f, c, v
	}
	row := func(f *file, tensor string, i int) []float32 {
		x := f.tensors[f.byName[tensor]]
		v, err := decode(x.t, tensor, x.data)
		if err != nil || !f.has(tensor) {
			t.Fatalf("%s: %v", tensor, err)
		}
		return v[32*i:][:32]
	}
	const q, k = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"
	// Row 3 of head 1 is the second half of the pair 1: element 1+8/2.
	for name, want := range map[string]int{"edge": 8 + 5, "swiglu": 8 + 5, "qk-norm": 8 + 3, "swiglu, qk-norm": 8 + 3, "starcoder2": 8 + 3, "stablelm": 8 + 3} {
		f, _, v := open(name)
		for tensor, own := range map[string]string{"blk.0.attn_q.weight": q, "blk.0.attn_k.weight": k} {
			if !slices.Equal(row(f, tensor, 8+3), v[own][32*want:][:32]) {
				t.Errorf("%s: row 11 of %s is not row %d of mito's", name, tensor, want)
			}
		}
	}
	f, c, v := open("gpt2")
	for i, own := range []string{q, k, "model.layers.0.self_attn.v_proj.weight"} {
		if !slices.Equal(row(f, "blk.0.attn_qkv.weight", 32*i+3), v[own][32*3:][:32]) {
			t.Errorf("gpt2: rows of %s are elsewhere", own)
		}
	}
	for _, tensor := range []string{"blk.1.attn_qkv.bias", "blk.1.attn_output.bias", "blk.1.ffn_up.bias", "blk.1.ffn_down.bias"} {
		if !f.has(tensor) {
			t.Errorf("gpt2 without biases: %s is missing", tensor)
		}
	}
	if f.pairs["gpt2.context_length"] != int64(c.Context) || f.has("output.weight") {
		t.Errorf("gpt2: %v", f.pairs)
	}
	f, _, v = open("qk-norm")
	if !slices.Equal(row(f, "output.weight", 2), v["model.embed_tokens.weight"][64:96]) {
		t.Error("apertus: the tied head is not the embedding")
	}
	for key, want := range map[string]float64{"xielu.alpha_p": 0.541324854, "xielu.alpha_n": -200, "xielu.beta": 0, "xielu.eps": -1e-6} {
		list, _ := f.pairs[key].([]any)
		if len(list) != 2 || math.Abs(list[0].(float64)-want) > 1e-7 {
			t.Errorf("%s is %v, want %v in each layer", key, list, want)
		}
	}
	for key, want := range map[string]any{"apertus.rope.dimension_count": int64(8), "apertus.attention.key_length": int64(8), "apertus.rope.freq_base": 500.0,
		"general.file_type": int64(0), "apertus.attention.head_count_kv": int64(2)} {
		if f.pairs[key] != want {
			t.Errorf("%s is %v, want %v", key, f.pairs[key], want)
		}
	}
}
