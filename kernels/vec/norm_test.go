package vec

import (
	"fmt"
	"testing"

	"mito/kernels/ref"
)

func TestRMSNorm(t *testing.T) {
	r := rng(t)
	for _, n := range sizes {
		x, gain := normal(r, n, 2), normal(r, n, 1)
		y := make([]float32, n)
		// The root halves what the sum of squares is off by, and adds up to five.
		tol := within{5 + laneSum(n)/2, 0}
		rstd := RMSNorm(y, x, gain, 1e-5)
		want, wr := ref.RMSNorm(wide(x), wide(gain), 1e-5)
		near(t, "rstd", float64(rstd)/wr, 1, tol)
		tol.rel += 2 // two products
		nearAll(t, "RMSNorm", y, want, tol)

		RMSNorm(y, x, nil, 1e-5)
		want, _ = ref.RMSNorm(wide(x), nil, 1e-5)
		nearAll(t, "RMSNorm without gain", y, want, tol)
		RMSNorm(x, x, nil, 1e-5)
		for i := range x {
			if x[i] != y[i] {
				t.Fatal("in place differs")
			}
		}
	}
	y := make([]float32, 4)
	RMSNorm(y, y, nil, 1e-5)
	for _, v := range y {
		if v != 0 {
			t.Errorf("zero row became %v", y)
		}
	}
}

func TestLayerNorm(t *testing.T) {
	r := rng(t)
	for _, n := range sizes {
		x, gain, bias := normal(r, n, 2), normal(r, n, 1), normal(r, n, 1)
		y := make([]float32, n)
		tol := within{5 + laneSum(n)/2, 0}
		for _, c := range []struct {
			name       string
			gain, bias []float32
		}{{"both", gain, bias}, {"no bias", gain, nil}, {"no gain", nil, bias}, {"plain", nil, nil}} {
			mean, rstd := LayerNorm(y, x, c.gain, c.bias, 1e-5)
			var g, b []float64
			if c.gain != nil {
				g = wide(c.gain)
			}
			if c.bias != nil {
				b = wide(c.bias)
			}
			want, wm, wr := ref.LayerNorm(wide(x), g, b, 1e-5)
			// The partial sums are of the size of √n, so their roundings, divided by n, stay below those of one term.
			near(t, "mean", float64(mean), wm, within{1, 2})
			near(t, "rstd", float64(rstd)/wr, 1, tol)
			nearAll(t, fmt.Sprintf("LayerNorm %s n %d", c.name, n), y, want, within{tol.rel + 2, 4}) // what the mean is off by
		}
	}
}

// Gradients of Σ dy*y by finite differences of the oracle.
func TestNormBackward(t *testing.T) {
	r := rng(t)
	const eps = 1e-3
	for _, n := range []int{3, 8, 13, 40} {
		for _, withGain := range []bool{true, false} {
			x, dy := normal(r, n, 1), normal(r, n, 1)
			var gain, dgain, dbias []float32
			var gain64 []float64
			if withGain {
				gain, dgain, dbias = normal(r, n, 1), normal(r, n, 1), normal(r, n, 1)
				gain64 = wide(gain)
			}
			before, biasBefore := wide(dgain), wide(dbias)
			dot := func(y []float64) (s float64) {
				for i, v := range y {
					s += v * float64(dy[i])
				}
				return s
			}
			dx, scratch := make([]float32, n), make([]float32, n)
			const h = 1e-5 // the difference quotients are right to a hundredth of a rounding
			// A sum of two or three terms of either sign, all of the size of four or less; with a mean there are more.
			product, rms1, layer1 := within{4, 4}, within{4, 8}, within{4, 16}

			rms := func(x, g []float64) float64 { y, _ := ref.RMSNorm(x, g, eps); return dot(y) }
			rstd := RMSNorm(scratch, x, gain, eps)
			RMSNormBackward(dx, dgain, dy, x, gain, rstd)
			nearAll(t, "RMSNorm dx", dx, ref.Gradient(func(x []float64) float64 { return rms(x, gain64) }, wide(x), h), rms1)
			if withGain {
				want := ref.Gradient(func(g []float64) float64 { return rms(wide(x), g) }, gain64, h)
				for i := range want {
					want[i] += before[i]
				}
				nearAll(t, "RMSNorm dgain", dgain, want, product)
			}
			copy(scratch, dy)
			RMSNormBackward(scratch, nil, scratch, x, gain, rstd)
			for i := range dx {
				if dx[i] != scratch[i] {
					t.Fatal("dx in the place of dy differs")
				}
			}

			before = wide(dgain)
			layer := func(x, g []float64) float64 { y, _, _ := ref.LayerNorm(x, g, nil, eps); return dot(y) }
			mean, rstd := LayerNorm(scratch, x, gain, nil, eps)
			LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd)
			nearAll(t, "LayerNorm dx", dx, ref.Gradient(func(x []float64) float64 { return layer(x, gain64) }, wide(x), h), layer1)
			if withGain {
				want := ref.Gradient(func(g []float64) float64 { return layer(wide(x), g) }, gain64, h)
				for i := range want {
					want[i] += before[i]
				}
				nearAll(t, "LayerNorm dgain", dgain, want, product)
				for i := range dy {
					biasBefore[i] += float64(dy[i])
				}
				nearAll(t, "LayerNorm dbias", dbias, biasBefore, within{1, 0})
			}
			copy(scratch, dy)
			LayerNormBackward(scratch, nil, nil, scratch, x, gain, mean, rstd)
			for i := range dx {
				if dx[i] != scratch[i] {
					t.Fatal("dx in the place of dy differs")
				}
			}
		}
	}
}
