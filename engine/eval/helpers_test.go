package eval

import (
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/internal/imports"
	"mito/engine/internal/testmodels"
	"mito/engine/model"
	"mito/engine/tokenizer"
)

const alphabet = testmodels.Alphabet

func edge() arch.Config { return testmodels.Edge() }

func floatModel(t testing.TB, c arch.Config, seed uint64) (*model.Model, *model.Weights) {
	return testmodels.Float(t, c, seed)
}

// templated is a tokenizer that puts tokens before a text.
type templated struct {
	tokenizer.Tokenizer
	begin []int32
}

func (t templated) Template() (before, after []int32) { return t.begin, nil }

// runtimes opens the same configuration in float32 and in INT8.
func runtimes(t testing.TB, c arch.Config, tok tokenizer.Tokenizer, threads int) map[string]decode.Runtime {
	t.Helper()
	_, w := floatModel(t, c, 1)
	out := map[string]decode.Runtime{
		decode.Float32: must(decode.NewFloat32(w, tok, decode.Options{Threads: threads})),
		decode.Int8:    must(decode.NewInt8(testmodels.Student(t, c, 1), tok, decode.Options{Threads: threads})),
	}
	for _, r := range out {
		t.Cleanup(func() { check(t, r.Close()) })
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/data", "mito/engine/decode", "mito/engine/grammar", "mito/engine/task", "mito/engine/tokenizer")
}
