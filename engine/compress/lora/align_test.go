package lora

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/kernels/kerneltest"
)

// A of an aligned adapter spans what the gradient's best approximation of that rank reads: with it nothing of a gradient of that rank
// is lost, and the rows are orthogonal and of the length that γ says.
func TestAlign(t *testing.T) {
	c := Config{Rank: 3, Alpha: 1, Targets: []string{"*"}}
	for _, shape := range [][2]int{{7, 12}, {12, 7}, {3, 3}} {
		m := arch.Module{Name: "m", Rows: shape[0], Cols: shape[1]}
		r := rand.New(rand.NewPCG(1, 2))
		g := make([]float64, m.Rows*m.Cols)
		for range c.Rank { // a gradient of rank 3
			row := make([]float64, m.Cols)
			for i := range row {
				row[i] = r.NormFloat64()
			}
			for o := range m.Rows {
				s := r.NormFloat64()
				for i, v := range row {
					g[o*m.Cols+i] += s * v
				}
			}
		}
		values := map[string][]float32{}
		check(t, c.Align(values, m, g, 4))
		a := values["m"+suffixA]
		// A·Aᵀ = γ²/3·I
		for x := range c.Rank {
			for y := range c.Rank {
				dot, want := 0.0, 0.0
				for i := range m.Cols {
					dot += float64(a[x*m.Cols+i]) * float64(a[y*m.Cols+i])
				}
				if x == y {
					want = 16.0 / 3
				}
				if math.Abs(dot-want) > 1e-5 {
					t.Errorf("%v: rows %d and %d of A: %v, want %v", shape, x, y, dot, want)
				}
			}
		}
		// G·AᵀA·3/γ² = G
		for o := range m.Rows {
			back := make([]float64, m.Cols)
			for x := range c.Rank {
				dot := 0.0
				for i := range m.Cols {
					dot += g[o*m.Cols+i] * float64(a[x*m.Cols+i])
				}
				for i := range m.Cols {
					back[i] += dot * float64(a[x*m.Cols+i]) * 3 / 16
				}
			}
			for i, v := range back {
				if math.Abs(v-g[o*m.Cols+i]) > 1e-4 {
					t.Fatalf("%v: the gradient comes back as %v at %d,%d, was %v", shape, v, o, i, g[o*m.Cols+i])
				}
			}
		}
		wide, e := Config{Rank: min(m.Rows, m.Cols) + 1}, (*ConfigError)(nil)
		if err := wide.Align(values, m, g, 1); !errors.As(err, &e) || e.Field != "rank" {
			t.Errorf("%v: rank %d: %v", shape, wide.Rank, err)
		}
		g[1] = math.Inf(1)
		if err := c.Align(values, m, g, 1); err == nil || !strings.Contains(err.Error(), "not finite") {
			t.Errorf("an infinite gradient: %v", err)
		}
	}
}

// γ makes A larger and nothing else.
func TestGamma(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		w, c := weights(small(), 1), Config{Rank: 3, Alpha: 6, Targets: all()}
		one, four := built(t, b, w, &c), built(t, b, w, &c)
		check(t, one.InitializeAdded(4, Init(1)))
		check(t, four.InitializeAdded(4, Init(4)))
		for i, p := range one.Params.Added {
			x, y := make([]float32, p.Size()), make([]float32, p.Size())
			check(t, b.Download(x, p.Value))
			check(t, b.Download(y, four.Params.Added[i].Value))
			for j := range x {
				x[j] *= 4 // exact
			}
			check(t, kerneltest.Bits(y, x))
		}
	})
}
