package adapters

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
	"mito/engine/internal/imports"
)

func TestImports(t *testing.T) {
	imports.Closure(t, "mito/engine/arch", "mito/kernels/vec", "mito/kernels/isa", "mito/kernels/sentinel", "golang.org/x/sys/cpu")
}

func values(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// Two of three stacked matrices have additions, each with a rank of its own; rows of no adapter stay as they are.
func TestStack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := arch.Edge(11, 8, 2, 32, 4, 2)
	index := c.Index()
	q, k, v := index[arch.Place{Layer: 1, Part: arch.Query}], index[arch.Place{Layer: 1, Part: arch.Key}], index[arch.Place{Layer: 1, Part: arch.Value}]
	addition := func(m arch.Module, rank int) Addition {
		return Addition{Layer: m.Layer, Part: m.Part, Rank: rank, Scale: 0.5, A: values(r, rank*m.Cols), B: values(r, rank*m.Rows)}
	}
	list := []Adapter{{"one", []Addition{addition(v, 3), addition(q, 2)}}, {"two", []Addition{addition(k, 1)}}, {"three", nil}}
	if err := Check(list, c); err != nil {
		t.Fatal(err)
	}
	s := NewStack(list, q, k, v)
	if s.Ranks() != 5 {
		t.Errorf("%d values, want 5", s.Ranks())
	}
	x, y := values(r, q.Cols), values(r, q.Rows+k.Rows+v.Rows)
	for adapter := range 4 {
		want := make([]float64, len(y))
		for i := range y {
			want[i] = float64(y[i])
		}
		if adapter > 0 {
			for _, d := range list[adapter-1].Additions {
				at, m := 0, q
				if d.Part == arch.Key {
					at, m = q.Rows, k
				} else if d.Part == arch.Value {
					at, m = q.Rows+k.Rows, v
				}
				for o := range m.Rows {
					for j := range d.Rank {
						for i := range m.Cols {
							want[at+o] += 0.5 * float64(d.B[o*d.Rank+j]) * float64(d.A[j*m.Cols+i]) * float64(x[i])
						}
					}
				}
			}
		}
		got, low := append([]float32(nil), y...), make([]float32, s.Ranks())
		s.Down(low, x, adapter)
		s.Up(got, low, adapter)
		for i := range got {
			if math.Abs(float64(got[i])-want[i]) > 1e-4 {
				t.Fatalf("adapter %d, output %d: %v, want %v", adapter, i, got[i], want[i])
			}
		}
	}
	if NewStack(list, index[arch.Place{Layer: 0, Part: arch.Up}]) != nil {
		t.Error("additions to a matrix that no adapter names")
	}
}

func TestCheck(t *testing.T) {
	c := arch.Edge(11, 8, 2, 32, 4, 2)
	good := Addition{Layer: 1, Part: arch.Query, Rank: 1, Scale: 1, A: make([]float32, 32), B: make([]float32, 32)}
	with := func(f func(d *Addition)) []Adapter {
		d := good
		f(&d)
		return []Adapter{{"a", []Addition{d}}}
	}
	for name, list := range map[string][]Adapter{
		"no name":        {{"", nil}},
		"a name twice":   {{"a", nil}, {"a", nil}},
		"a module twice": {{"a", []Addition{good, good}}},
		"a table":        with(func(d *Addition) { d.Layer, d.Part = -1, arch.Embedding }),
		"a norm":         with(func(d *Addition) { d.Part = arch.Norm1 }),
		"no such layer":  with(func(d *Addition) { d.Layer = 2 }),
		"no such part":   with(func(d *Addition) { d.Part = arch.Gate }),
		"rank 0":         with(func(d *Addition) { d.Rank = 0 }),
		"a short A":      with(func(d *Addition) { d.A = d.A[1:] }),
		"a long B":       with(func(d *Addition) { d.B = append(d.B, 1) }),
	} {
		var e *Error
		if err := Check(list, c); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
