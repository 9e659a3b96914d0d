package decode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
	"mito/engine/internal/testmodels"
	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

func edge() arch.Config { return testmodels.Edge() }

const alphabet = testmodels.Alphabet

func eachConfig(t *testing.T, f func(t *testing.T, c arch.Config)) { testmodels.Each(t, f) }

func floatModel(t testing.TB, c arch.Config, seed uint64) (*model.Model, *model.Weights) {
	return testmodels.Float(t, c, seed)
}

func studentWeights(t testing.TB, c arch.Config, seed uint64) *student.Weights {
	return testmodels.Student(t, c, seed)
}

// runtimes opens the same configuration in float32 and in INT8.
func runtimes(t testing.TB, c arch.Config, tok tokenizer.Tokenizer, threads int) map[string]Runtime {
	t.Helper()
	_, w := floatModel(t, c, 1)
	out := map[string]Runtime{
		Float32: must(NewFloat32(w, tok, Options{Threads: threads})),
		Int8:    must(NewInt8(studentWeights(t, c, 1), tok, Options{Threads: threads})),
	}
	for _, r := range out {
		t.Cleanup(func() { check(t, r.Close()) })
	}
	return out
}

func randomTokens(rng *rand.Rand, vocab, n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(rng.IntN(vocab))
	}
	return x
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

// sameBits returns the first place where a and b differ, -1 for none.
func sameBits(a, b []float32) int {
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }
