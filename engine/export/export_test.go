package export

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/export/hf"
	"mito/engine/files"
	"mito/engine/internal/testmodels"
	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

func config(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 7, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 500, TieEmbeddings: true,
	}
	change(&c)
	return c
}

func configs() map[string]arch.Config {
	return map[string]arch.Config{
		"arcee":   config(func(c *arch.Config) {}),
		"apertus": config(func(c *arch.Config) { c.QKNorm, c.TieEmbeddings = true, false }),
		"mistral": config(func(c *arch.Config) { c.Activation, c.Window = arch.ActSwiGLU, 5 }),
		"gpt2": config(func(c *arch.Config) {
			c.Norm, c.Position, c.Activation, c.KVHeads, c.RoPETheta = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4, 10000
		}),
		"mito": config(func(c *arch.Config) { c.Window = 5 }),
	}
}

// models writes a float model and its INT8 student, some of it in codes of fewer bits, and returns their folders.
func models(t *testing.T, c arch.Config, bits ...quant.Rule) (float, int8 string) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	w := &model.Weights{Config: c, Tensors: map[string][]float32{}}
	for _, x := range c.Tensors() {
		v := make([]float32, x.Size())
		for i := range v {
			v[i] = float32(r.NormFloat64()) / 4
		}
		w.Tensors[x.Name] = v
	}
	tok, err := tokenizer.NewChars("abc de\n")
	if err != nil {
		t.Fatal(err)
	}
	contents, err := hf.Contents(c, Tensors(w), tok)
	if err != nil {
		t.Fatal(err)
	}
	float, int8 = filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "q")
	if err := checkpoint.Save(float, contents); err != nil {
		t.Fatal(err)
	}
	q, report, err := quant.Quantize(context.Background(), c, w.Tensors, quant.Options{Bits: bits})
	if err != nil {
		t.Fatal(err)
	}
	if err := quant.Save(int8, q, report); err != nil {
		t.Fatal(err)
	}
	return float, int8
}

func digest(t *testing.T, dir string) string {
	t.Helper()
	w, err := quant.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := student.Digest(m, student.DigestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What is exported has the logits of the model bit for bit, float and INT8, and the student keeps its digest.
func TestFolder(t *testing.T) {
	for as, c := range configs() {
		float, int8 := models(t, c)
		for _, from := range []string{float, int8} {
			s, err := Open(from)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			r, err := huggingFace.Write(context.Background(), s, out, Options{})
			if err != nil {
				t.Fatalf("%s: %v", as, err)
			}
			want := as
			if as == "gpt2" && from == int8 { // its matrices are not those of Linear
				want = "mito"
			}
			if r.Architecture != want || hf.ModelType(out) != want || r.Bytes == 0 {
				t.Errorf("%s: %+v", as, r)
			}
			if got := slices.Contains(r.Files, checkpoint.ModelingName); got != (want == "mito") {
				t.Errorf("%s: files %v", as, r.Files)
			}
			if worst, err := CheckWritten(huggingFace, s, out, Options{}, decode.Options{}); err != nil || worst != 0 {
				t.Errorf("%s: differs by %v, %v", as, worst, err)
			}
			if from == int8 && digest(t, out) != digest(t, int8) {
				t.Errorf("%s: another digest", as)
			}
			var foreign *files.ForeignError
			if _, err := huggingFace.Write(context.Background(), s, out, Options{}); !errors.As(err, &foreign) {
				t.Errorf("%s: written over: %v", as, err)
			}
		}
	}
}

// Of a student with matrices in blocks the folder holds the zeros and says so; the form of mito's own says what others need.
func TestSparseFolder(t *testing.T) {
	c := configs()["arcee"]
	q := testmodels.Student(t, c, 3)
	if err := q.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil && strings.Contains(name, ".layers.") {
			clear(m.Q[4*m.Cols:]) // all but the first four rows
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	report := &quant.Report{}
	report.Blocks, report.Pruning = true, json.RawMessage(`[]`)
	int8, out := filepath.Join(t.TempDir(), "q"), filepath.Join(t.TempDir(), "out")
	if err := quant.Save(int8, q, report); err != nil {
		t.Fatal(err)
	}
	s, err := Open(int8)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := s.Quantization(); err != nil || !have.InBlocks() || !strings.Contains(string(s.Config), "mito export hf") {
		t.Fatalf("the student is not stored in blocks, or does not say what others need: %v, %s", err, s.Config)
	}
	if _, err := huggingFace.Write(context.Background(), s, out, Options{}); err != nil {
		t.Fatal(err)
	}
	made, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := made.Quantization()
	if err != nil || have.Sparsity == nil || have.Sparsity.Format != "dense" || have.Sparsity.GlobalSparsity != quant.Sparsity(q) || quant.Sparsity(q) < 0.5 {
		t.Errorf("%+v, %v, want dense with a share of zeros of %v", have.Sparsity, err, quant.Sparsity(q))
	}
	if digest(t, out) != digest(t, int8) {
		t.Error("another digest")
	}
}

// An INT8 folder has weights for every module that transformers looks for: a tied head is a copy, and no hint makes a head
// tied that has weights of its own.
func TestTiedHead(t *testing.T) {
	_, int8 := models(t, configs()["arcee"])
	s, err := Open(int8)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := huggingFace.Write(context.Background(), s, out, Options{}); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	head, err := f.Weights.Get("lm_head.weight", checkpoint.I8, 7, 32)
	if err != nil {
		t.Fatal(err)
	}
	q, err := f.Quantization()
	if err != nil || q.ConfigGroups["group_0"].Format != "int-quantized" || q.KVCacheScheme != nil {
		t.Errorf("%+v, %v", q, err)
	}
	c, _, err := hf.ReadInt8(f)
	if err != nil || !c.TieEmbeddings {
		t.Errorf("tied %v, %v", c.TieEmbeddings, err)
	}
	head.Data = append([]byte(nil), head.Data...)
	head.Data[5] ^= 1
	c, w, err := hf.ReadInt8(f)
	if err != nil || c.TieEmbeddings || !w.Has("lm_head.weight") {
		t.Errorf("another head: tied %v, %v", c.TieEmbeddings, err)
	}
}

// The twin without windows computes the same as long as the context is no longer than the narrowest window, and needs no code.
func TestFullAttention(t *testing.T) {
	float, int8 := models(t, configs()["mito"])
	for _, from := range []string{float, int8} {
		s, err := Open(from)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		r, err := huggingFace.Write(context.Background(), s, out, Options{FullAttention: true})
		if err != nil || r.Architecture != "arcee" || r.Note != "" {
			t.Fatalf("%+v, %v", r, err)
		}
		if worst, err := CheckWritten(huggingFace, s, out, Options{}, decode.Options{}); err != nil || worst != 0 {
			t.Errorf("differs by %v, %v", worst, err)
		}
		plain, _ := models(t, configs()["arcee"])
		if s, err = Open(plain); err != nil {
			t.Fatal(err)
		}
		if _, err := huggingFace.Write(context.Background(), s, out+"2", Options{FullAttention: true}); !errors.Is(err, errNoWindow) {
			t.Error(err)
		}
	}
	if n := Note(configs()["mito"]); !strings.Contains(n, "--full-attention") || !strings.Contains(n, "trust_remote_code") || !strings.Contains(n, "5 tokens") {
		t.Errorf("note: %q", n)
	}
	if n := Note(configs()["arcee"]); n != "" {
		t.Errorf("note: %q", n)
	}
}

// A folder that computes something else is found out.
func TestCheckFindsOtherWeights(t *testing.T) {
	a, _ := models(t, configs()["arcee"])
	b, _ := models(t, config(func(c *arch.Config) { c.RoPETheta = 700 }))
	s, err := Open(a)
	if err != nil {
		t.Fatal(err)
	}
	var differs *DifferenceError
	if _, err := CheckWritten(huggingFace, s, b, Options{}, decode.Options{}); !errors.As(err, &differs) {
		t.Error(err)
	}
}
