package bench

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"mito/kernels/isa"
	"mito/kernels/qgemm"
)

// Every plan can be made, its rows have names of their own, and each probe measures something positive. The probes of
// training and of large models take seconds each and are left to the command.
func TestPlans(t *testing.T) {
	for _, b := range benchmarks {
		t.Run(b.name, func(t *testing.T) {
			if testing.Short() && b.name != "kernels" {
				t.Skip("models are made and trained")
			}
			m := &meter{ctx: t.Context(), o: Options{Rounds: 1, Threads: 2}}
			defer func() {
				if err := m.close(); err != nil {
					t.Error(err)
				}
			}()
			if err := b.plan(m); err != nil {
				t.Fatal(err)
			}
			seen, names := map[string]bool{}, map[string]bool{}
			for _, row := range m.rows {
				r := row()
				key := strings.Join([]string{r.Name, r.Variant, string(rune('0' + r.Threads))}, "|")
				if r.Name == "" || r.Unit == "" || seen[key] {
					t.Errorf("row %q, unit %q: without a name of its own", key, r.Unit)
				}
				seen[key], names[r.Name] = true, true
			}
			if b.name == "techniques" {
				checkTable(t, names, "pruning/", "speculation/", "quantisation/460K", "quantisation/7M", "accumulation/460K")
			}
			for i, p := range m.probes {
				if b.name == "kernels" && i%20 != 0 || b.name != "kernels" && i != 0 {
					continue
				}
				if err := m.once(p); err != nil {
					t.Fatal(err)
				}
				r := p.row()
				if !(r.Value > 0) || p.limit != nil && !(r.OfLimit > 0) || math.IsInf(r.Value, 0) {
					t.Errorf("%s: %v of %v", r.Name, r.Value, r.Limit)
				}
			}
		})
	}
}

func TestRunLeavesVariantsAlone(t *testing.T) {
	chosen := qgemm.Variant()
	ctx, cancel := context.WithCancel(t.Context())
	measured := 0
	_, err := Run(ctx, "kernels", Options{Rounds: 1, Level: isa.Generic, Progress: func(done, total int, name string) {
		if qgemm.Variant() != isa.Generic {
			t.Errorf("measured with %s", qgemm.Variant())
		}
		if measured++; measured == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if qgemm.Variant() != chosen {
		t.Errorf("left %s chosen, was %s", qgemm.Variant(), chosen)
	}
}

func TestRunRefuses(t *testing.T) {
	var unknown *UnknownError
	if _, err := Run(t.Context(), "nothing", Options{}); !errors.As(err, &unknown) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), "kernels", Options{Level: "sse9"}); !errors.Is(err, isa.ErrUnknownVariant) {
		t.Error(err)
	}
}

func TestRowsSummarize(t *testing.T) {
	m := &meter{ctx: t.Context(), o: Options{Rounds: 3}}
	values, limits := []float64{4, 1, 2}, []float64{8, 8, 2}
	next := func(x *[]float64) rate {
		return func() (float64, error) { v := (*x)[0]; *x = (*x)[1:]; return v, nil }
	}
	a := m.add(Result{Name: "a"}, next(&values), next(&limits))
	b := m.hidden(Result{Name: "b"}, func() (float64, error) { return 0.5, nil }, nil)
	m.combine(Result{Name: "ratio"}, a, b, divide)
	m.fixed(Result{Name: "fixed"}, 7)
	if err := m.measure(); err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{Name: "a", Value: 2, Low: 1, High: 4, Limit: 8, OfLimit: 0.5},
		{Name: "ratio", Value: 4, Low: 2, High: 8},
		{Name: "fixed", Value: 7, Low: 7, High: 7},
	}
	if len(m.rows) != len(want) {
		t.Fatalf("%d rows", len(m.rows))
	}
	for i, row := range m.rows {
		if got := row(); got != want[i] {
			t.Errorf("row %d is %+v, want %+v", i, got, want[i])
		}
	}
}

func TestMeasureReportsErrors(t *testing.T) {
	bad := errors.New("bad")
	for _, limit := range []bool{false, true} {
		m := &meter{ctx: t.Context(), o: Options{Rounds: 1}}
		good, fail := func() (float64, error) { return 1, nil }, func() (float64, error) { return 0, bad }
		if limit {
			m.add(Result{Name: "x"}, good, fail)
		} else {
			m.add(Result{Name: "x"}, fail, good)
		}
		if err := m.measure(); !errors.Is(err, bad) || !strings.Contains(err.Error(), "x: ") {
			t.Errorf("limit %v: %v", limit, err)
		}
	}
	if _, err := fastest(func() error { return bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
}

// The classes are what their names say, and the products of a step are all of their matrices.
func TestClasses(t *testing.T) {
	for i, want := range []int{460_000, 7_000_000} {
		c := classes()[i]
		if n := c.config.Params(); math.Abs(float64(n)/float64(want)-1) > 0.03 {
			t.Errorf("%s has %d parameters", c.name, n)
		}
		vectors := (2*c.config.Layers + 1) * c.config.HiddenSize
		if got := int(c.config.Params()) - vectors; got != c.macs() {
			t.Errorf("%s: products of %d weights, the matrices have %d", c.name, c.macs(), got)
		}
	}
	// 2 layers of one head of 2, time 3: 3 products a matrix, 7 of attention over 2 positions on average.
	c := classes()[0]
	c.config.Layers, c.config.Heads, c.config.HeadDim, c.config.KVHeads, c.config.HiddenSize, c.config.IntermediateSize, c.config.VocabSize = 2, 1, 2, 1, 2, 3, 5
	if want := 2.0 * (3*(2*(4*4+2*6)+10) + 7*2*2*2); c.trainFLOPs(3) != want {
		t.Errorf("%v operations, want %v", c.trainFLOPs(3), want)
	}
}

func TestPruneLeavesShare(t *testing.T) {
	s := matrix{n: 12, k: 20} // 3 x 3 blocks, the last column cut
	w := make([]int8, s.n*s.k)
	for i := range w {
		w[i] = 1
	}
	prune(source("prune"), w, s, 0.5)
	zeros := 0
	for br := range 3 {
		for bc := range 3 {
			sum, n := 0, 0
			for i := br * 4; i < br*4+4; i++ {
				for j := bc * 8; j < min(20, bc*8+8); j++ {
					sum, n = sum+int(w[i*s.k+j]), n+1
				}
			}
			if sum != 0 && sum != n {
				t.Errorf("block %d,%d is cut", br, bc)
			}
			if sum == 0 {
				zeros++
			}
		}
	}
	if zeros != 4 {
		t.Errorf("%d blocks of 9 are zero, want 4", zeros)
	}
}
