package decode

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/session"
	"mito/engine/session/adapters"
)

// drawn is an adapter of every matrix inside the layers of a model, or of some.
func drawn(c arch.Config, name string, rank int, seed uint64, only ...arch.Part) adapters.Adapter {
	r := rand.New(rand.NewPCG(seed, 9))
	a := adapters.Adapter{Name: name}
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.2)
		}
		return v
	}
	for _, m := range c.Modules() {
		if m.Layer >= 0 && m.IsMatrix() && !m.Part.Table() && (len(only) == 0 || slices.Contains(only, m.Part)) {
			a.Additions = append(a.Additions, adapters.Addition{
				Layer: m.Layer, Part: m.Part, Rank: rank, Scale: 0.5, A: draw(rank * m.Cols), B: draw(rank * m.Rows),
			})
		}
	}
	return a
}

// merged adds an adapter to weights.
func merged(w *model.Weights, a adapters.Adapter) *model.Weights {
	out := &model.Weights{Config: w.Config, Tensors: map[string][]float32{}}
	for name, v := range w.Tensors {
		out.Tensors[name] = slices.Clone(v)
	}
	index := w.Config.Index()
	for _, d := range a.Additions {
		m := index[arch.Place{Layer: d.Layer, Part: d.Part}]
		v := out.Tensors[m.Weight().Name]
		for o := range m.Rows {
			for i := range m.Cols {
				sum := 0.0
				for r := range d.Rank {
					sum += float64(d.B[o*d.Rank+r]) * float64(d.A[r*m.Cols+i])
				}
				v[o*m.Cols+i] += float32(0.5 * sum)
			}
		}
	}
	return out
}

// adapted are runtimes of both kinds with adapters.
func adapted(t *testing.T, c arch.Config, threads int, list []adapters.Adapter) map[string]Runtime {
	t.Helper()
	_, w := floatModel(t, c, 3)
	o := Options{Threads: threads, Adapters: list}
	out := map[string]Runtime{Float32: must(NewFloat32(w, nil, o)), Int8: must(NewInt8(studentWeights(t, c, 3), nil, o))}
	for _, r := range out {
		t.Cleanup(func() { r.Close() })
	}
	return out
}

// scored is what one sequence of a session says after each of some tokens.
func scored(t *testing.T, r Runtime, adapter string, tokens []int32) (out []float32) {
	t.Helper()
	s := must(r.NewSession(1))
	check(t, s.Adapt(0, adapter))
	check(t, s.Score(0, tokens, func(_ int, logits []float32) error {
		out = append(out, logits...)
		return nil
	}))
	return out
}

// A float32 runtime with an adapter computes what one of the merged weights does.
func TestAdapterIsItsMerge(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		a := drawn(c, "a", 3, 1)
		_, w := floatModel(t, c, 3)
		tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, 20)
		plain := must(NewFloat32(w, nil, Options{}))
		whole := must(NewFloat32(merged(w, a), nil, Options{}))
		beside := adapted(t, c, 1, []adapters.Adapter{drawn(c, "other", 2, 4), a})[Float32]
		want := scored(t, whole, "", tokens)
		if d := distance(scored(t, beside, "a", tokens), want); !(d < 1e-5) {
			t.Errorf("beside and merged differ by %.3g", d)
		}
		if d := distance(scored(t, plain, "", tokens), want); d < 1e-4 { // least in a model of width 1
			t.Errorf("the adapter changes the logits by %.3g only", d)
		}
	})
}

func distance(x, y []float32) float64 {
	var d, n float64
	for i := range x {
		d += math.Pow(float64(x[i])-float64(y[i]), 2)
		n += math.Pow(float64(y[i]), 2)
	}
	return math.Sqrt(d / n)
}

// Sequences of several adapters and of none, mixed in one batch of 8, have the bits that each has alone, in prompts and in steps,
// with any number of threads; those of none have the bits of a runtime that never heard of adapters.
func TestMixedAdapters(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		list := []adapters.Adapter{drawn(c, "a", 3, 1), drawn(c, "b", 1, 2, arch.Query, arch.Value), drawn(c, "c", 4, 5, arch.Up, arch.Down)}
		names := []string{"a", "", "b", "c", "a", "b", "", "c"}
		r := rand.New(rand.NewPCG(4, 4))
		tokens := make([][]int32, len(names))
		for i := range tokens {
			tokens[i] = randomTokens(r, c.VocabSize, 9+i)
		}
		bare := adapted(t, c, 1, nil)
		alone := map[string][][]float32{}
		for _, threads := range []int{1, 3} {
			for kind, rt := range adapted(t, c, threads, list) {
				if alone[kind] == nil {
					for i := range names {
						alone[kind] = append(alone[kind], scored(t, rt, names[i], tokens[i]))
						if names[i] == "" && sameBits(alone[kind][i], scored(t, bare[kind], "", tokens[i])) >= 0 {
							t.Errorf("%s: a sequence without an adapter has other bits than without adapters", kind)
						}
					}
					if sameBits(scored(t, rt, "a", tokens[1]), alone[kind][1]) < 0 {
						t.Errorf("%s: the adapter changes nothing", kind)
					}
				}
				s := must(rt.NewSession(len(names)))
				prompts, steps := make([][]int32, len(names)), make([]int32, len(names))
				for i, name := range names {
					check(t, s.Adapt(i, name))
					prompts[i], steps[i] = tokens[i][:8], tokens[i][8]
				}
				v := c.VocabSize
				for at, got := range [][][]float32{7: must(s.PrefillBatch(prompts))} {
					for i := range got {
						if k := sameBits(got[i], alone[kind][i][at*v:][:v]); k >= 0 {
							t.Fatalf("%s, %d threads: sequence %d (%q) after its prompt: logit %d differs from alone", kind, threads, i, names[i], k)
						}
					}
				}
				for i, logits := range must(s.Step(steps)) {
					if k := sameBits(logits, alone[kind][i][8*v:][:v]); k >= 0 {
						t.Fatalf("%s, %d threads: sequence %d (%q): logit %d differs from alone", kind, threads, i, names[i], k)
					}
				}
			}
		}
	})
}

// An adapter is switched in less than a millisecond, between texts only; a copy of a sequence has its adapter.
func TestSwitch(t *testing.T) {
	c := edge()
	tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, 12)
	for kind, r := range adapted(t, c, 1, []adapters.Adapter{drawn(c, "a", 3, 1), drawn(c, "b", 3, 2)}) {
		s := must(r.NewSession(2))
		if err := s.Adapt(0, "z"); !errors.Is(err, session.ErrAdapter) {
			t.Errorf("%s: an unknown adapter: %v", kind, err)
		}
		if err := s.Adapt(2, "a"); !errors.Is(err, session.ErrSequence) {
			t.Errorf("%s: an unknown sequence: %v", kind, err)
		}
		fastest := time.Hour
		for i := range 20 {
			s.Reset()
			began := time.Now()
			check(t, s.Adapt(0, []string{"a", "b"}[i%2]))
			fastest = min(fastest, time.Since(began))
			must(s.Prefill(0, tokens))
		}
		if fastest > time.Millisecond {
			t.Errorf("%s: switching takes %v", kind, fastest)
		}
		if n := testing.AllocsPerRun(10, func() { s.Reset(); _ = s.Adapt(0, "a"); _ = s.Adapt(0, "b") }); n > 0 {
			t.Errorf("%s: switching allocates %v times", kind, n)
		}
		must(s.Prefill(0, tokens))
		if err := s.Adapt(0, "a"); err == nil {
			t.Errorf("%s: the adapter of half a text was switched", kind)
		}
		if err := s.Adapt(0, "b"); err != nil {
			t.Errorf("%s: the adapter that it has: %v", kind, err)
		}
		check(t, s.Fork(1, 0))
		next := must(s.Step([]int32{1, 1}))
		if i := sameBits(next[0], next[1]); i >= 0 {
			t.Errorf("%s: a copy differs from its sequence", kind)
		}
		if want := scored(t, r, "b", append(slices.Clone(tokens), 1)); sameBits(next[0], want[12*c.VocabSize:]) >= 0 {
			t.Errorf("%s: the text after switches differs from a fresh one", kind)
		}
	}
}

// Adapters leave the base as it is, and those that do not fit are refused before anything is made.
func TestAdaptersRefused(t *testing.T) {
	c := edge()
	a := drawn(c, "a", 3, 1)
	a.Additions[0].A = a.Additions[0].A[1:]
	_, w := floatModel(t, c, 3)
	var e *adapters.Error
	if _, err := NewFloat32(w, nil, Options{Adapters: []adapters.Adapter{a}}); !errors.As(err, &e) {
		t.Errorf("float32: %v", err)
	}
	if _, err := NewInt8(studentWeights(t, c, 3), nil, Options{Adapters: []adapters.Adapter{a}}); !errors.As(err, &e) {
		t.Errorf("INT8: %v", err)
	}
}
