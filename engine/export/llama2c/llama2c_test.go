package llama2c

import (
	"bytes"
	"encoding/binary"
	"math"
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
		ModelType: arch.ModelType, VocabSize: 11, HiddenSize: 24, IntermediateSize: 40, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 9, Activation: arch.ActSwiGLU, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
	if change != nil {
		change(&c)
	}
	return c
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

func write(t testing.TB, c arch.Config, int8 bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, c, random(c), int8); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func untied(c *arch.Config) { c.TieEmbeddings = false }

func TestRoundTrip(t *testing.T) {
	for _, change := range []func(c *arch.Config){nil, untied} {
		c := config(change)
		for _, int8 := range []bool{false, true} {
			got, tensors, err := Read(write(t, c, int8))
			if err != nil || !got.Equal(c) {
				t.Fatalf("read %+v, wrote %+v; %v", got, c, err)
			}
			rounded := false
			for i, want := range random(c) {
				g := tensors[i]
				if g.Name != want.Name || !slices.Equal(g.Shape, want.Shape) {
					t.Fatalf("%s is %s", want.Name, g.Name)
				}
				a, _ := g.F32()
				b, _ := want.F32()
				for k := range a {
					d := math.Abs(float64(a[k]) - float64(b[k]))
					rounded = rounded || d > 0
					if limit := 0.0; d > limit && (!int8 || len(g.Shape) == 1 || d > 4.0/127/2) { // no value is beyond 4
						t.Fatalf("%s[%d] is %v, want %v", g.Name, k, a[k], b[k])
					}
				}
			}
			if rounded != int8 {
				t.Errorf("int8 %v, rounded %v", int8, rounded)
			}
		}
	}
}

// TestLayout looks values up where export.py and run.c have them.
func TestLayout(t *testing.T) {
	c := config(untied)
	data := write(t, c, false)
	v, err := shape.Floats(&c, random(c))
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(data[28+4*i:])) }
	if n := int32(binary.LittleEndian.Uint32(data[20:])); n != -11 {
		t.Errorf("vocab_size %d of a head of its own", n)
	}
	embedding, norms, q := 11*24, 2*24, 2*24*24
	if at(0) != v["model.embed_tokens.weight"][0] || at(embedding+24) != v["model.layers.1.input_layernorm.weight"][0] {
		t.Error("the embedding or the second norm is elsewhere")
	}
	// Row 1 of the file's wq is element 3 of the head: half of 6 further on.
	if got, want := at(embedding+norms+24), v["model.layers.0.self_attn.q_proj.weight"][3*24]; got != want {
		t.Errorf("row 1 of wq begins with %v, want %v", got, want)
	}
	kv := 2 * 12 * 24
	w2 := embedding + norms + q + kv + kv + q + norms + 2*40*24
	if got, want := at(w2), v["model.layers.0.mlp.down_proj.weight"][0]; got != want {
		t.Errorf("w2 begins with %v, want %v", got, want)
	}
	final := w2 + 4*40*24
	if at(final) != v["model.norm.weight"][0] || at(final+24) != 1 || at(final+24+9*3) != 0 || at(final+24+2*9*3) != v["lm_head.weight"][0] {
		t.Error("the final norm, the tables or the head are elsewhere")
	}
	if len(data) != 28+4*(final+24+2*9*3+11*24) {
		t.Errorf("%d bytes", len(data))
	}
	tied := write(t, config(nil), true)
	if tied[36] != 1 || binary.LittleEndian.Uint32(tied[37:]) != 8 || len(tied) != headerSize+4*5*24+(11*24+2*(2*24*24+2*12*24+3*24*40))*12/8 {
		t.Errorf("version 2: shared %d, group %d, %d bytes", tied[36], binary.LittleEndian.Uint32(tied[37:]), len(tied))
	}
}

func TestRefused(t *testing.T) {
	for says, change := range map[string]func(c *arch.Config){
		"SwiGLU, and this one relu2":     func(c *arch.Config) { c.Activation = arch.ActReLU2 },
		"no QK-norm":                     func(c *arch.Config) { c.QKNorm = true },
		"base 10000":                     func(c *arch.Config) { c.RoPETheta = 500 },
		"no biases":                      func(c *arch.Config) { c.MLPBias = true },
		"epsilon":                        func(c *arch.Config) { c.NormEps = 1e-6 },
		"wide":                           func(c *arch.Config) { c.HeadDim = 8 },
		"--full-attention":               func(c *arch.Config) { c.Window = 4 },
		"RMSNorm, and this one layernor": func(c *arch.Config) { c.Norm = arch.NormLayer },
	} {
		c := config(change)
		if err := Write(&bytes.Buffer{}, c, random(c), false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	c := config(func(c *arch.Config) { c.IntermediateSize = 36 })
	if err := Write(&bytes.Buffer{}, c, random(c), true); err == nil || !strings.Contains(err.Error(), "that 8 divides") {
		t.Errorf("rows without groups: %v", err)
	}
	good, int8 := write(t, config(nil), false), write(t, config(nil), true)
	change := func(data []byte, at int, to byte) []byte {
		data = slices.Clone(data)
		data[at] = to
		return data
	}
	for says, data := range map[string][]byte{
		"hold no model":         good[:20],
		"is this a file":        append(slices.Clone(good), 0),
		"ends too early":        good[:len(good)-4],
		"of version 1":          change(int8, 4, 1),
		"groups of 7":           change(int8, 37, 7),
		"header says no model":  change(good, 12, 0),
		"ends after":            int8[:100],
		"needs 15352 bytes, th": change(int8, 36, 0),
	} {
		if _, _, err := Read(data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

func TestTokenizer(t *testing.T) {
	tok, err := tokenizer.TrainBPE(strings.Repeat("the cat, the hat ", 9), 262)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Tokenizer(tok, tok.VocabSize()+1)
	if err != nil {
		t.Fatal(err)
	}
	longest, at, last := int(binary.LittleEndian.Uint32(data)), 4, float32(0)
	for id := range tok.VocabSize() + 1 {
		score := math.Float32frombits(binary.LittleEndian.Uint32(data[at:]))
		n := int(binary.LittleEndian.Uint32(data[at+4:]))
		piece := string(data[at+8:][:n])
		at += 8 + n
		if n > longest {
			t.Errorf("%q is longer than the longest, %d", piece, longest)
		}
		if id >= tok.VocabSize() {
			continue
		}
		if want, _ := tok.AppendToken(nil, int32(id)); piece != string(want) {
			t.Errorf("token %d is %q, want %q", id, piece, want)
		}
		if id >= 256 {
			if score >= last {
				t.Errorf("merge %d has the score %v behind %v", id, score, last)
			}
			last = score
		} else if score != 0 {
			t.Errorf("byte %d has the score %v", id, score)
		}
	}
	if at != len(data) {
		t.Errorf("%d bytes are left", len(data)-at)
	}
	if _, err := Tokenizer(tok, 5); err == nil {
		t.Error("a tokenizer that is larger than the model")
	}
}

func FuzzRead(f *testing.F) {
	c := config(func(c *arch.Config) {
		c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 8, 8, 1, 2, 1, 4
	})
	f.Add(write(f, c, false))
	f.Add(write(f, c, true))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, tensors, err := Read(data)
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
