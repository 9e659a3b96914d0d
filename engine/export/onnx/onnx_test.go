package onnx

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/tokenizer"
)

func config(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 5, HiddenSize: 24, IntermediateSize: 20, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 9, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
	if change != nil {
		change(&c)
	}
	return c
}

var shapes = map[string]func(c *arch.Config){
	"edge":   nil,
	"untied": func(c *arch.Config) { c.TieEmbeddings, c.Window = false, 4 },
	"gpt2": func(c *arch.Config) {
		c.Norm, c.Position, c.Activation, c.AttentionBias, c.MLPBias = arch.NormLayer, arch.PositionLearned, arch.ActGELU, true, true
	},
	"qwen3": func(c *arch.Config) { c.Activation, c.QKNorm = arch.ActSwiGLU, true },
	"ple":   func(c *arch.Config) { c.PLEDim = 5 },
	"uneven": func(c *arch.Config) {
		c.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 20}, {Heads: 2, KVHeads: 1, IntermediateSize: 7, Window: 3}})
	},
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

func write(t testing.TB, c arch.Config, codes map[string]Codes, tok tokenizer.Tokenizer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, c, random(c), codes, tok); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// student makes codes of the matrices of a configuration.
func student(c arch.Config) map[string]Codes {
	r := rand.New(rand.NewPCG(3, 4))
	out := map[string]Codes{}
	for _, m := range c.Modules() {
		if !m.IsMatrix() {
			continue
		}
		q := Codes{Q: make([]int8, m.Rows*m.Cols), Scale: make([]float32, m.Rows)}
		for i := range q.Q {
			q.Q[i] = int8(r.IntN(255) - 127)
		}
		for i := range q.Scale {
			q.Scale[i] = r.Float32()
		}
		out[m.Name] = q
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	tok, err := tokenizer.NewChars("ab\né", tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range shapes {
		c := config(change)
		got, tensors, back, err := Read(write(t, c, nil, tok))
		if err != nil || !got.Equal(c) || back.Hash() != tok.Hash() {
			t.Fatalf("%s: read %+v, wrote %+v; %v", name, got, c, err)
		}
		for i, want := range random(c) {
			if g := tensors[i]; g.Name != want.Name || !slices.Equal(g.Shape, want.Shape) || !bytes.Equal(g.Data, want.Data) {
				t.Errorf("%s: %s differs", name, want.Name)
			}
		}
		codes := student(c)
		_, tensors, back, err = Read(write(t, c, codes, nil))
		if err != nil || back != nil {
			t.Fatalf("%s: INT8: %v", name, err)
		}
		for _, x := range tensors {
			q, ok := codes[strings.TrimSuffix(x.Name, ".weight")]
			if !ok {
				continue
			}
			v, _ := x.F32()
			for i := range v {
				if v[i] != float32(q.Q[i])*q.Scale[i/x.Shape[1]] {
					t.Fatalf("%s: %s[%d] is %v of code %d", name, x.Name, i, v[i], q.Q[i])
				}
			}
		}
	}
}

// TestGraph walks the messages: operators come after what they read, every name is made once, and nothing is left unread.
func TestGraph(t *testing.T) {
	for name, change := range shapes {
		for _, int8 := range []bool{false, true} {
			c := config(change)
			var codes map[string]Codes
			if int8 {
				codes = student(c)
			}
			top, err := fields(write(t, c, codes, nil))
			if err != nil {
				t.Fatal(err)
			}
			made, read, kinds := map[string]bool{}, map[string]bool{}, map[string]int{}
			var inputs, outputs []string
			for _, f := range top {
				if f.id != 7 {
					continue
				}
				g, err := fields(f.bytes)
				if err != nil {
					t.Fatal(err)
				}
				text := func(b []byte, id int) (list []string) {
					in, err := fields(b)
					if err != nil {
						t.Fatal(err)
					}
					for _, x := range in {
						if x.id == id {
							list = append(list, string(x.bytes))
						}
					}
					return list
				}
				for _, x := range g {
					switch x.id {
					case 5:
						n := text(x.bytes, 8)[0]
						if made[n] {
							t.Errorf("%s: %s is there twice", name, n)
						}
						made[n] = true
					case 11:
						inputs = append(inputs, text(x.bytes, 1)[0])
						made[text(x.bytes, 1)[0]] = true
					case 12:
						outputs = append(outputs, text(x.bytes, 1)[0])
					}
				}
				for _, x := range g {
					if x.id != 1 {
						continue
					}
					for _, in := range text(x.bytes, 1) {
						if read[in] = true; !made[in] {
							t.Errorf("%s: %s is read before it is made", name, in)
						}
					}
					for _, out := range text(x.bytes, 2) {
						if made[out] {
							t.Errorf("%s: %s is made twice", name, out)
						}
						made[out] = true
					}
					kinds[text(x.bytes, 4)[0]]++
				}
			}
			for _, out := range outputs {
				if read[out] = true; !made[out] {
					t.Errorf("%s: nothing makes the output %s", name, out)
				}
			}
			for n := range made {
				if !read[n] {
					t.Errorf("%s: nobody reads %s", name, n)
				}
			}
			if len(inputs) != 1+2*c.Layers || len(outputs) != 1+2*c.Layers || inputs[0] != "input_ids" || outputs[0] != "logits" || outputs[1] != "present.0.key" {
				t.Errorf("%s: inputs %v, outputs %v", name, inputs, outputs)
			}
			// Rows that several matrices read are rounded once: norm1, output, norm2, down, what the per-layer embeddings make, and
			// q, k, v of each layer; the head.
			each := 7
			if c.PLEDim > 0 {
				each++
			}
			if want := each*c.Layers + 1; int8 && kinds["QuantizeLinear"] != want || !int8 && kinds["QuantizeLinear"]+kinds["DequantizeLinear"] != 0 {
				t.Errorf("%s: %d roundings, want %d", name, kinds["QuantizeLinear"], want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	c := config(func(c *arch.Config) { c.AuxVocab = 2 })
	if err := Write(&bytes.Buffer{}, c, random(c), nil, nil); err == nil || !strings.Contains(err.Error(), "second output head") {
		t.Errorf("a second head: %v", err)
	}
	good := write(t, config(nil), nil, nil)
	var foreign message
	foreign.number(1, 8)
	lacks := bytes.Replace(good, []byte("model.norm.weight"), []byte("model.norn.weight"), -1)
	for says, data := range map[string][]byte{
		"not one that mito wrote": foreign,
		"it is no ONNX file":      good[:len(good)-3],
		`"model.norm.weight"`:     lacks,
	} {
		if _, _, _, err := Read(data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	c := config(func(c *arch.Config) {
		c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 4, 4, 1, 2, 1, 2
	})
	f.Add(write(f, c, nil, nil))
	f.Add(write(f, c, student(c), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, tensors, _, err := Read(data)
		if err != nil {
			return
		}
		if _, err := shape.Floats(&c, tensors); err != nil {
			t.Fatal(err)
		}
	})
}
