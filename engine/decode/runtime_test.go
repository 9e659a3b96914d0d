package decode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/export/hf"
	"mito/engine/internal/imports"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// saved writes a float32 and an INT8 model, the latter below the folder of a run.
func saved(t *testing.T) (float, int8run string) {
	t.Helper()
	dir := t.TempDir()
	tok := must(tokenizer.NewChars(alphabet))
	m, _ := floatModel(t, edge(), 1)
	float, int8run = filepath.Join(dir, "float"), filepath.Join(dir, "run")
	check(t, checkpoint.Save(float, &checkpoint.Contents{
		Config: m.Config, Tensors: must(m.Tensors(m.Params.Value)), SaveTokenizer: tok.Save,
	}))
	check(t, must(runs.Claim(int8run, false)).Release())
	c := must(quant.Contents(studentWeights(t, edge(), 1), nil))
	c.SaveTokenizer = tok.Save
	check(t, checkpoint.Save(filepath.Join(int8run, runs.ModelDir), c))
	return float, int8run
}

func TestOpen(t *testing.T) {
	float, int8run := saved(t)
	direct := runtimes(t, edge(), nil, 1)
	tok := must(tokenizer.NewChars(alphabet))
	for _, tc := range []struct{ dir, kind string }{
		{float, Float32}, {int8run, Int8}, {filepath.Join(int8run, runs.ModelDir), Int8},
	} {
		r := must(Open(tc.dir, Options{Threads: 2}))
		want := direct[tc.kind]
		if r.Kind() != tc.kind || r.VocabSize() != 37 || r.Context() != 40 || r.Threads() != 2 ||
			r.Params() != want.Params() || r.Bytes() != want.Bytes() || r.Tokenizer().Hash() != tok.Hash() {
			t.Errorf("%s: %s with %d logits, context %d, %d parameters, %d bytes", tc.dir, r.Kind(), r.VocabSize(), r.Context(), r.Params(), r.Bytes())
		}
		tokens := []int32{3, 1, 4, 1, 5}
		a, b := must(r.NewSession(1)), must(want.NewSession(1))
		if at := sameBits(must(a.Prefill(0, tokens)), must(b.Prefill(0, tokens))); at >= 0 {
			t.Errorf("%s: logit %d differs from the model in memory", tc.dir, at)
		}
		check(t, r.Close())
		must(a.Step([]int32{2})) // still works, on the caller
	}
}

// A runtime's configuration has the parameters that were read, whatever the keys of the folder leave open.
func TestConfig(t *testing.T) {
	gpt, aux, ple := edge(), edge(), edge()
	gpt.Norm, gpt.Position, gpt.Activation, gpt.KVHeads = arch.NormLayer, arch.PositionLearned, arch.ActGELU, gpt.Heads // gpt2's has biases
	aux.AuxVocab = 3
	ple.PLEDim, ple.TieEmbeddings = 5, false
	for name, c := range map[string]arch.Config{"tied": edge(), "gpt2 without biases": gpt, "second head": aux, "per-layer embeddings": ple} {
		_, w := floatModel(t, c, 1)
		var tensors []checkpoint.Tensor
		for _, ts := range c.Tensors() {
			tensors = append(tensors, checkpoint.FromF32(ts.Name, ts.Shape, w.Tensors[ts.Name]))
		}
		ships := c.Shipped()
		contents := map[string]*checkpoint.Contents{
			"float32": must(hf.Contents(c, tensors, nil)),
			"int8":    must(quant.Contents(studentWeights(t, ships, 1), nil)),
		}
		contents["int8 of transformers"] = must(hf.Int8Contents(ships, contents["int8"].Tensors, nil))
		for kind, k := range contents {
			dir := filepath.Join(t.TempDir(), "m")
			check(t, checkpoint.Save(dir, k))
			r := must(Open(dir, Options{}))
			if got := r.Config(); got.Params() != int64(r.Params()) || got.Params() != ships.Params() || got.Active() != ships.Active() {
				t.Errorf("%s, %s: the runtime has %d parameters, its configuration %d of which a token uses %d; want %d and %d",
					name, kind, r.Params(), got.Params(), got.Active(), ships.Params(), ships.Active())
			}
			check(t, r.Close())
		}
	}
}

func TestOpenErrors(t *testing.T) {
	float, _ := saved(t)
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := Open(path, Options{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	big := must(tokenizer.NewChars(alphabet + "ABC"))
	check(t, big.Save(filepath.Join(float, checkpoint.TokenizerName)))
	var vocab *VocabularyError
	if _, err := Open(float, Options{}); !errors.As(err, &vocab) {
		t.Errorf("the tokenizer of another model: error %v", err)
	}
	check(t, os.WriteFile(filepath.Join(float, checkpoint.TokenizerName), []byte("{"), 0o666))
	if _, err := Open(float, Options{}); err == nil {
		t.Error("a broken tokenizer.json")
	}
	check(t, os.Remove(filepath.Join(float, checkpoint.TokenizerName)))
	if r := must(Open(float, Options{})); r.Tokenizer() != nil {
		t.Error("a tokenizer out of nowhere")
	}
}

func TestConstructorErrors(t *testing.T) {
	c := edge()
	big := must(tokenizer.NewChars(alphabet + "ABC"))
	_, w := floatModel(t, c, 1)
	var vocab *VocabularyError
	if _, err := NewFloat32(w, big, Options{}); !errors.As(err, &vocab) {
		t.Errorf("a tokenizer larger than the model: error %v", err)
	}
	if _, err := NewInt8(studentWeights(t, c, 1), big, Options{}); !errors.As(err, &vocab) {
		t.Errorf("a tokenizer larger than the student: error %v", err)
	}
	delete(w.Tensors, "model.norm.weight")
	var missing *TensorError
	if _, err := NewFloat32(w, nil, Options{}); !errors.As(err, &missing) || missing.Name != "model.norm.weight" {
		t.Errorf("a missing tensor: error %v", err)
	}
	w.Config.Heads = 3
	var bad *arch.FieldError
	if _, err := NewFloat32(w, nil, Options{}); !errors.As(err, &bad) {
		t.Errorf("an impossible configuration: error %v", err)
	}
	q := studentWeights(t, c, 1)
	q.Embedding.Q[0] = -128
	if _, err := NewInt8(q, nil, Options{}); !errors.Is(err, student.ErrMinus128) {
		t.Errorf("a weight of -128: error %v", err)
	}
	if _, err := NewInt8(studentWeights(t, c, 1), nil, Options{Observer: observed{}}); !errors.As(err, new(*OptionError)) {
		t.Errorf("an observer of INT8 weights: error %v", err)
	}
}

// observed counts the rows of each input.
type observed map[[2]int]int

func (o observed) Observe(layer int, in arch.Input, x []float32, stride, rows, width int) {
	if len(x) < (rows-1)*stride+width {
		panic("rows beyond their slice")
	}
	o[[2]int{layer, int(in)}] += rows
}

// TestObserver wants every input of every layer shown, token by token, and the rows of the head whose logits are wanted.
func TestObserver(t *testing.T) {
	c := edge()
	_, w := floatModel(t, c, 1)
	seen := observed{}
	s := must(must(NewFloat32(w, nil, Options{Observer: seen})).NewSession(1))
	must(s.Prefill(0, make([]int32, 35)))
	must(s.Step([]int32{1}))
	if want := 4*c.Layers + 1; len(seen) != want {
		t.Errorf("%d inputs, want %d", len(seen), want)
	}
	for at, rows := range seen {
		if want := map[bool]int{true: 2, false: 36}[at[0] == c.Layers]; rows != want {
			t.Errorf("layer %d, input %d: %d rows, want %d", at[0], at[1], rows, want)
		}
	}
}

// ordered keeps the rows that the head reads too; neither it nor observed may be called from two threads at once.
type ordered struct {
	observed
	head []float32
}

func (o *ordered) Observe(layer int, in arch.Input, x []float32, stride, rows, width int) {
	o.observed.Observe(layer, in, x, stride, rows, width)
	if in == arch.NormedHead {
		for i := range rows {
			o.head = append(o.head, x[i*stride:][:width]...)
		}
	}
}

// TestObserverOfBatch wants the rows of several sequences in the same order on every number of threads.
func TestObserverOfBatch(t *testing.T) {
	_, w := floatModel(t, edge(), 1)
	var first []float32
	for _, threads := range []int{1, 4} {
		seen := &ordered{observed: observed{}}
		r := must(NewFloat32(w, nil, Options{Observer: seen, Threads: threads}))
		s := must(r.NewSession(4))
		texts := [][]int32{slices.Repeat([]int32{1}, 35), {2, 3}, slices.Repeat([]int32{4, 5}, 16), {6}}
		if err := s.ScoreBatch(texts, func(int, int, []float32) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = seen.head
		}
		if len(seen.head) == 0 || !slices.Equal(seen.head, first) {
			t.Errorf("%d threads: another order than on one", threads)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSparseOption wants the bits of dense INT8 from blocks.
func TestSparseOption(t *testing.T) {
	w := studentWeights(t, edge(), 1)
	clear(w.Layers[0].Up.Q)
	dense, blocks := must(NewInt8(w, nil, Options{Blocks: student.BlocksNever})), must(NewInt8(w, nil, Options{Blocks: student.BlocksAlways}))
	if n := blocks.(*int8Runtime).Blocked(); n != 1 {
		t.Errorf("%d matrices in blocks, want 1", n)
	}
	tokens := []int32{3, 1, 4, 1, 5}
	a, b := must(dense.NewSession(1)), must(blocks.NewSession(1))
	if at := sameBits(must(a.Prefill(0, tokens)), must(b.Prefill(0, tokens))); at >= 0 {
		t.Errorf("logit %d differs", at)
	}
}

// TestLongContext wants a model with a context of a million positions to start small, and to compute what one with a context
// of forty does.
func TestLongContext(t *testing.T) {
	short, long := edge(), edge()
	long.Context = 1 << 20
	tokens := []int32{3, 1, 4, 1, 5}
	_, sw := floatModel(t, short, 1)
	lw := *sw
	lw.Config = long
	si, li := studentWeights(t, short, 1), studentWeights(t, long, 1)
	for kind, r := range map[string][2]func() Runtime{
		Float32: {func() Runtime { return must(NewFloat32(sw, nil, Options{})) }, func() Runtime { return must(NewFloat32(&lw, nil, Options{})) }},
		Int8:    {func() Runtime { return must(NewInt8(si, nil, Options{})) }, func() Runtime { return must(NewInt8(li, nil, Options{})) }},
	} {
		want := must(must(r[0]().NewSession(1)).Prefill(0, tokens))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := must(must(r[1]().NewSession(8)).Prefill(7, tokens))
		runtime.ReadMemStats(&after)
		if at := sameBits(got, want); at >= 0 {
			t.Errorf("%s: logit %d differs", kind, at)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 20 {
			t.Errorf("%s: %d MiB for a few tokens", kind, mib)
		}
	}
}

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/checkpoint", "mito/engine/compress/quant", "mito/engine/files", "mito/engine/grammar", "mito/engine/model", "mito/engine/runs", "mito/engine/session",
		"mito/engine/session/adapters",
		"mito/engine/student", "mito/engine/tokenizer", "mito/kernels/attn", "mito/kernels/gemm", "mito/kernels/parallel", "mito/kernels/vec")
}
