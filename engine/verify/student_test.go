package verify

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/student"
	"mito/kernels/isa"
)

func weights(t *testing.T, seed uint64, change func(c *arch.Config)) *student.Weights {
	t.Helper()
	c := arch.Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 72, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	}
	if change != nil {
		change(&c)
	}
	w, err := student.NewWeights(c)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	if err := w.Visit(func(_ string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			for i := range *v {
				(*v)[i] = 1 + 0.2*(rng.Float32()-0.5)
			}
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(rng.IntN(255) - 127)
		}
		for i := range m.Scale {
			m.Scale[i] = 0.0015 * (0.9 + 0.2*rng.Float32())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestStudent(t *testing.T) {
	for name, change := range map[string]func(c *arch.Config){
		"edge":   nil,
		"window": func(c *arch.Config) { c.Window = 5 },
		"llama": func(c *arch.Config) {
			c.Activation, c.TieEmbeddings, c.QKNorm = arch.ActSwiGLU, false, true
		},
		"gpt2": func(c *arch.Config) {
			c.Norm, c.Position, c.Activation = arch.NormLayer, arch.PositionLearned, arch.ActGELU
			c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := weights(t, 1, change)
			r, err := Student(t.Context(), w, func() (*student.Weights, error) { return weights(t, 1, change), nil })
			if err != nil {
				t.Fatal(err)
			}
			if want := len(isa.Levels())*(len(runs)-1) + 1; len(r.Variants) != want {
				t.Errorf("%d variants, want %d: %q", len(r.Variants), want, r.Names())
			}
			m, err := student.New(w, student.Options{})
			if err != nil {
				t.Fatal(err)
			}
			digest, err := student.Digest(m, student.DigestOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Identical || r.Digest != digest {
				t.Errorf("%+v, the runtime's digest is %s", r, digest)
			}
			names := r.Names()
			slices.Sort(names)
			if len(slices.Compact(names)) != len(r.Variants) {
				t.Errorf("two variants have one name: %q", names)
			}
		})
	}
}

// TestStudentSparse wants a model with a matrix of many zero blocks to be run in blocks too, at every level.
func TestStudentSparse(t *testing.T) {
	w := weights(t, 1, nil)
	q := w.Layers[1].Up.Q
	clear(q[:len(q)*3/4])
	r, err := Student(t.Context(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range r.Variants {
		if strings.Contains(v.Name, "sparse") {
			n++
		}
	}
	if n != len(isa.Levels()) || !r.Identical {
		t.Errorf("%d sparse variants of %d levels: %+v", n, len(isa.Levels()), r)
	}
}

// TestIdentical wants one variant that differs to be enough, wherever it stands.
func TestIdentical(t *testing.T) {
	for digests, want := range map[string]bool{"a": true, "aaa": true, "aba": false, "baa": false, "aab": false, "abb": false} {
		var r Report
		for _, d := range digests {
			r.add("variant", student.Digests{Digest: string(d)})
		}
		if r.Identical != want || r.Digest != digests[:1] {
			t.Errorf("%s: identical %v, digest %s", digests, r.Identical, r.Digest)
		}
	}
}

// TestStudentDiffers wants a single weight that comes back wrong to be noticed.
func TestStudentDiffers(t *testing.T) {
	w := weights(t, 1, nil)
	r, err := Student(t.Context(), w, func() (*student.Weights, error) {
		again := weights(t, 1, nil)
		again.Embedding.Q[0] ^= 1
		return again, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Variants[len(r.Variants)-1]
	if r.Identical || last.Digest == r.Digest {
		t.Errorf("%+v", r)
	}
}

func TestStudentErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Student(t.Context(), weights(t, 1, nil), func() (*student.Weights, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of reload", err)
	}
	w := weights(t, 1, nil)
	w.Layers[0].Up.Q[3] = -128
	if _, err := Student(t.Context(), w, nil); !errors.Is(err, student.ErrMinus128) {
		t.Errorf("error %v", err)
	}
}

// TestStudentRestores wants the variants chosen before, after success and failure alike.
func TestStudentRestores(t *testing.T) {
	defer chosen()()
	if err := isa.Limit(isa.Generic); err != nil {
		t.Fatal(err)
	}
	bad := weights(t, 1, nil)
	bad.Layers[0].Up.Q[3] = -128
	for _, w := range []*student.Weights{weights(t, 1, nil), bad} {
		_, _ = Student(t.Context(), w, nil)
		for _, k := range isa.Kernels() {
			if k.Variant() != isa.Generic {
				t.Errorf("%s left chosen", k.Variant())
			}
		}
	}
}

// TestReportJSON pins the fields that scripts rely on.
func TestReportJSON(t *testing.T) {
	var r Report
	r.add("generic", student.Digests{Digest: "ab", Functions: "f", Stream: "s", Weights: "w"})
	r.add("avx2", student.Digests{Digest: "ab", Functions: "f", Stream: "s", Weights: "w"})
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"digest":"ab","identical":true,"variants":[{"name":"generic","digest":"ab"},{"name":"avx2","digest":"ab"}],"parts":{"functions":"f","stream":"s","weights":"w"}}`; string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if r.add("other", student.Digests{Digest: "cd"}); r.Identical || r.Digest != "ab" {
		t.Errorf("%+v", r)
	}
}

// A context far beyond the digest's stream costs no memory: what is allocated is what a model of the stream's length takes.
func TestStudentWithALongContext(t *testing.T) {
	prove := func(context int) (Report, uint64) {
		open := func() (*student.Weights, error) {
			return weights(t, 1, func(c *arch.Config) { c.Context = context }), nil
		}
		w, _ := open()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Student(t.Context(), w, open)
		if err == nil {
			err = r.Backends(t.Context(), w)
		}
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return r, after.TotalAlloc - before.TotalAlloc
	}
	want, usual := prove(student.MaxSequence)
	got, long := prove(1 << 20)
	if !got.Identical || got.Digest != want.Digest {
		t.Errorf("%+v, want %s", got, want.Digest)
	}
	if long > usual+8<<20 { // one model of the whole context has 96 MiB of tables and cache
		t.Errorf("%d MiB allocated, %d by a short context", long>>20, usual>>20)
	}
}

// A context that is done ends a verification, and the kernels are as they were.
func TestStudentStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := isa.Kernels()[0].Variant()
	if r, err := Student(ctx, weights(t, 1, nil), nil); !errors.Is(err, context.Canceled) || len(r.Variants) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := (&Report{}).Backends(ctx, weights(t, 1, nil)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if after := isa.Kernels()[0].Variant(); after != before {
		t.Errorf("variant %s, before %s", after, before)
	}
}
