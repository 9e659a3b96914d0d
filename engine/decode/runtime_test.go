package decode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/runs"
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

func TestMeasure(t *testing.T) {
	for kind, r := range runtimes(t, edge(), nil, 1) {
		for _, batch := range []int{1, 3} {
			s := must(Measure(t.Context(), r, MeasureOptions{Batch: batch, Runs: 3, Time: time.Millisecond}))
			if len(s.Runs) != 3 || s.TokensPerSecond <= 0 {
				t.Errorf("%s: %+v", kind, s)
			}
		}
	}
	for _, tc := range []struct {
		x    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(tc.x); got != tc.want {
			t.Errorf("median of %v: %v", tc.x, got)
		}
	}
}
