package calibrate

import (
	"context"
	"errors"
	"math"
	"reflect"
	"testing"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/internal/testmodels"
)

// A text that a model writes depends on the seed, begins everywhere, and follows the model's distribution.
func TestGenerate(t *testing.T) {
	c := testmodels.Edge()
	_, w := testmodels.Float(t, c, 4)
	a := must(Generate(t.Context(), w, 40, 2, 1))
	if !reflect.DeepEqual(a, must(Generate(t.Context(), w, 40, 2, 1))) {
		t.Error("the same seed writes another text")
	}
	if reflect.DeepEqual(a, must(Generate(t.Context(), w, 40, 2, 2))) {
		t.Error("another seed writes the same text")
	}
	first := map[int32]bool{}
	for _, s := range a {
		first[s[0]] = true
	}
	if len(first) < 15 {
		t.Errorf("40 sequences begin with %d tokens", len(first))
	}
	logits := []float32{1, 0, -1, 2}
	z, counts := logSum(logits), make([]float64, 4)
	const n = 40000
	for i := range n {
		counts[draw(logits, (float64(i)+0.5)/n)]++
	}
	for i, l := range logits {
		if want := math.Exp(float64(l) - z); math.Abs(counts[i]/n-want) > 1e-3 {
			t.Errorf("token %d: %v of the draws, want %v", i, counts[i]/n, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Generate(ctx, w, 1, 3, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Hessians have the mean squares on their diagonal and are those of the rows themselves.
func TestHessians(t *testing.T) {
	testmodels.Each(t, func(t *testing.T, c arch.Config) {
		_, w := testmodels.Float(t, c, 4)
		seen := &rowsOf{at: reader{0, arch.HiddenMLP}}
		sequences := must(Generate(t.Context(), w, 3, c.Context, 5))
		got := must(Run(t.Context(), w, sequences, Options{Threads: 1, Hessians: true}))
		s := must(must(decode.NewFloat32(w, nil, decode.Options{Observer: seen})).NewSession(1))
		for _, tokens := range sequences {
			s.Reset()
			for i := range tokens {
				must(s.Step(tokens[i : i+1]))
			}
		}
		const down = "model.layers.0.mlp.down_proj"
		h, k := got.Hessian[down], len(got.Largest[down])
		if len(h) != k*k || k == 0 {
			t.Fatalf("a Hessian of %d for %d channels", len(h), k)
		}
		for i := range k {
			for j := range k {
				want := 0.0
				for _, row := range seen.rows {
					want += float64(row[i]) * float64(row[j]) / float64(len(seen.rows))
				}
				if math.Abs(h[i*k+j]-want) > 1e-5*(1e-3+math.Abs(want)) {
					t.Fatalf("element [%d,%d] is %v, want %v", i, j, h[i*k+j], want)
				}
			}
		}
		if _, _, err := quant.Quantize(t.Context(), c, w.Tensors, quant.Options{Calibration: got, Method: quant.GPTQ, Smooth: 0.5, Bits: []quant.Rule{{Pattern: "mlp.*", Bits: 4}}}); err != nil {
			t.Error(err)
		}
	})
}

// rowsOf keeps the rows of one reader.
type rowsOf struct {
	at   reader
	rows [][]float32
}

func (r *rowsOf) Observe(layer int, in arch.Input, x []float32, ld, rows, width int) {
	for i := range rows {
		if r.at == (reader{layer, in}) {
			r.rows = append(r.rows, append([]float32(nil), x[i*ld:][:width]...))
		}
	}
}

// Fewer bits cost more, the widths of every matrix are there with the bytes that they take, and a budget is kept.
func TestSensitivity(t *testing.T) {
	c := testmodels.Edge()
	_, w := testmodels.Float(t, c, 4)
	sequences := must(Generate(t.Context(), w, 3, c.Context, 5))
	choices, fixed, err := Sensitivity(t.Context(), w, sequences, quant.Options{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, x := range choices {
		if len(x.Widths) != len(Widths()) || x.Widths[0].Cost != 0 {
			t.Errorf("%s: %+v", x.Module, x.Widths)
		}
		if last := x.Widths[len(x.Widths)-1]; last.Cost > 0 {
			sum++
		}
	}
	if sum < float64(len(choices))/2 {
		t.Errorf("ternary codes cost something in %v of %d matrices", sum, len(choices))
	}
	q, r, err := quant.Quantize(t.Context(), c, w.Tensors, quant.Options{})
	if err != nil {
		t.Fatal(err)
	}
	budget := quant.StoredBytes(q, r) * 6 / 10
	rules, err := quant.Choose(choices, fixed, budget)
	if err != nil {
		t.Fatal(err)
	}
	if q, r, err = quant.Quantize(t.Context(), c, w.Tensors, quant.Options{Bits: rules}); err != nil {
		t.Fatal(err)
	}
	if got := quant.StoredBytes(q, r); got > budget || got < budget*8/10 {
		t.Errorf("%d bytes of a budget of %d", got, budget)
	}
}
