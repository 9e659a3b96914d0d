package vec

import (
	"math"
	"testing"

	"mito/kernels/ref"
)

var unary = []struct {
	name     string
	forward  func(dst, x []float32)
	backward func(dx, dy, x []float32)
	ref      func(float64) float64
}{
	{"ReLU", ReLU, ReLUBackward, ref.ReLU},
	{"ReLU2", ReLU2, ReLU2Backward, ref.ReLU2},
	{"SiLU", SiLU, SiLUBackward, ref.SiLU},
	{"GELU", GELU, GELUBackward, ref.GELU},
}

func TestActivations(t *testing.T) {
	r := rng(t)
	for _, a := range unary {
		t.Run(a.name, func(t *testing.T) {
			x, dy := normal(r, 500, 4), normal(r, 500, 1)
			x[0], x[1] = 60, -60
			y, dx := make([]float32, len(x)), make([]float32, len(x))
			a.forward(y, x)
			a.backward(dx, dy, x)
			want, slope := make([]float64, len(x)), make([]float64, len(x))
			for i, v := range x {
				want[i] = a.ref(float64(v))
				slope[i] = float64(dy[i]) * ref.Slope(a.ref, float64(v), 1e-5)
			}
			// Six operations; what the argument of the exponential was rounded by shows in the tails only.
			nearAll(t, "forward", y, want, within{6, 1})
			// The slope of GELU has 1-t² times up to five, where t has four roundings and t² two of those.
			nearAll(t, "backward", dx, slope, within{8, 40})
			z := append([]float32(nil), x...)
			a.forward(z, z)
			a.backward(dy, dy, x)
			for i := range z {
				if z[i] != y[i] || dy[i] != dx[i] {
					t.Fatal("in place differs")
				}
			}
			nan := float32(math.NaN())
			a.forward(z[:1], []float32{nan})
			if !isNaN(z[0]) {
				t.Error("NaN lost")
			}
			a.forward(z[:2], []float32{1e20, -1e20})
			if w := float32(a.ref(1e20)); z[0] != w && !(w > 1e38) || z[1] != 0 {
				t.Errorf("at ±1e20: %v", z[:2])
			}
		})
	}
}

func TestSwiGLU(t *testing.T) {
	r := rng(t)
	n := 300
	gate, up, dy := normal(r, n, 3), normal(r, n, 2), normal(r, n, 1)
	y, dgate, dup := make([]float32, n), make([]float32, n), make([]float32, n)
	SwiGLU(y, gate, up)
	SwiGLUBackward(dgate, dup, dy, gate, up)
	want, wg, wu := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		g, u, d := float64(gate[i]), float64(up[i]), float64(dy[i])
		want[i] = ref.SwiGLU(g, u)
		wg[i] = d * ref.Slope(func(g float64) float64 { return ref.SwiGLU(g, u) }, g, 1e-5)
		wu[i] = d * ref.SiLU(g)
	}
	nearAll(t, "forward", y, want, within{8, 1})
	// The slope is a sum of two terms of either sign, four at most each.
	nearAll(t, "dgate", dgate, wg, within{8, 16})
	nearAll(t, "dup", dup, wu, within{8, 1})
	SwiGLUBackward(gate, dy, dy, gate, up)
	for i := range n {
		if gate[i] != dgate[i] || dy[i] != dup[i] {
			t.Fatal("in place differs")
		}
	}
}

func TestRoPE(t *testing.T) {
	r := rng(t)
	for _, d := range []int{2, 4, 16, 24, 32, 64, 70} {
		x := normal(r, d, 1)
		cos, sin := make([]float32, d/2), make([]float32, d/2)
		for i := range cos {
			s, c := math.Sincos(37 * math.Pow(10000, -2*float64(i)/float64(d)))
			cos[i], sin[i] = float32(c), float32(s)
		}
		y := append([]float32(nil), x...)
		RoPE(y, cos, sin, false)
		// Two products of rounded factors, and |x0| + |x1| is four at most.
		nearAll(t, "RoPE", y, ref.RoPE(wide(x), 37, 10000), within{1, 8})
		RoPE(y, cos, sin, true)
		nearAll(t, "inverse", y, wide(x), within{2, 16})

		// The inverse is the rotation by -sin, bit for bit.
		a, b := append([]float32(nil), x...), append([]float32(nil), x...)
		RoPE(a, cos, sin, true)
		for i := range sin {
			sin[i] = -sin[i]
		}
		RoPE(b, cos, sin, false)
		for i := range a {
			if a[i] != b[i] {
				t.Fatal("inverse is not the rotation by -sin")
			}
		}
	}
}
