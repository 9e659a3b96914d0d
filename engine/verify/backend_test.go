package verify

import (
	"slices"
	"strings"
	"testing"

	_ "mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/internal/imports"
	"mito/engine/student"
)

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/backend", "mito/engine/student", "mito/engine/student/seam", "mito/kernels/isa")
}

// The digest through the backends joins the report and agrees with the runtime's.
func TestBackends(t *testing.T) {
	w, err := student.NewWeights(arch.Config{
		ModelType: "mito", VocabSize: 11, HiddenSize: 16, IntermediateSize: 32, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8,
		Context: 12, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			for i := range *v {
				(*v)[i] = 1
			}
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(i*37%255 - 127)
		}
		for i := range m.Scale {
			m.Scale[i] = 0.01
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := r.runs(t.Context(), w, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Backends(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	named := func(v Variant) bool { return strings.HasPrefix(v.Name, "backend cpu, ") }
	if !r.Identical || !slices.ContainsFunc(r.Variants, named) {
		t.Errorf("%+v", r)
	}
}
