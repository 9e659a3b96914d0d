package attn

import (
	"math"
	"testing"

	"mito/kernels/kerneltest"
)

func eachRowVariant(t *testing.T, f func(t *testing.T, k *rowFuncs)) {
	t.Helper()
	kerneltest.Variants(t, rowKernels, func(t *testing.T) { f(t, rowKernels.Funcs()) })
}

// relExp bounds the relative error of exp(scale·x - shift): a few roundings of the polynomial, and the rounding of an
// argument of the given size, which exp turns into a relative one.
func relExp(arg float64) float64 { return (6 + 2*math.Abs(arg)) * kerneltest.Eps }

func TestSoftmaxRow(t *testing.T) {
	eachRowVariant(t, func(t *testing.T, k *rowFuncs) {
		r := kerneltest.Rand("softmax")
		for n := rowUnit; n <= keyBlock; n += rowUnit {
			for _, side := range kerneltest.Sides {
				for _, old := range []float64{math.Inf(-1), -3, 50} {
					const scale = 0.7
					x := kerneltest.Normal(r, kerneltest.Guarded[float32](t, n, side))
					x[r.IntN(n)] *= 20
					if n > rowUnit {
						x[n-1], x[0] = minusInf, minusInf
					}
					top, want := old, make([]float64, n)
					for _, v := range x {
						top = math.Max(top, float64(float32(scale))*float64(v))
					}
					var total float64
					for i, v := range x {
						want[i] = math.Exp(float64(float32(scale))*float64(v) - top)
						total += want[i]
					}
					newTop, sum := k.softmax(&x[0], n, scale, float32(old))
					if math.Abs(float64(newTop)-top) > kerneltest.Eps*math.Abs(top) {
						t.Fatalf("n %d: top %v, want %v", n, newTop, top)
					}
					tol := func(i int) float64 { return 1e-37 + want[i]*relExp(2*top+math.Log(want[i]+1e-37)) }
					if err := kerneltest.Close(x, want, tol); err != nil {
						t.Fatalf("n %d old %v: %v", n, old, err)
					}
					if d := math.Abs(float64(sum) - total); d > total*(relExp(2*math.Abs(top))+math.Sqrt(float64(n))*kerneltest.Eps) {
						t.Fatalf("n %d: sum %v, want %v", n, sum, total)
					}
					if n > rowUnit && (x[0] != 0 || x[n-1] != 0) {
						t.Fatalf("n %d: what is not seen has probability %v", n, x[0])
					}
				}
			}
		}
	})
}

func TestGradRow(t *testing.T) {
	eachRowVariant(t, func(t *testing.T, k *rowFuncs) {
		r := kerneltest.Rand("grad")
		for n := rowUnit; n <= keyBlock; n += rowUnit {
			const scale, lse, delta = float32(0.25), float32(3), float32(-0.4)
			s := kerneltest.Normal(r, kerneltest.Guarded[float32](t, n, kerneltest.End))
			dp := kerneltest.Normal(r, kerneltest.Guarded[float32](t, n, kerneltest.Begin))
			s[n/2], dp[n/2] = minusInf, 0
			s[n/3] = -4000
			p, ds := make([]float64, n), make([]float64, n)
			for i := range p {
				p[i] = math.Exp(float64(scale)*float64(s[i]) - float64(lse))
				ds[i] = p[i] * (float64(dp[i]) - float64(delta)) * float64(scale)
			}
			k.grad(&s[0], &dp[0], n, scale, lse, delta)
			if err := kerneltest.Close(s, p, func(i int) float64 { return 1e-37 + p[i]*relExp(5) }); err != nil {
				t.Fatalf("n %d, probabilities: %v", n, err)
			}
			if err := kerneltest.Close(dp, ds, func(i int) float64 { return 1e-37 + math.Abs(ds[i])*relExp(10) + p[i]*kerneltest.Eps }); err != nil {
				t.Fatalf("n %d, gradients: %v", n, err)
			}
		}
	})
}

// Every float32 argument that a softmax can see, thinned out, must be right to a few units in the last place.
func TestExpOfRows(t *testing.T) {
	eachRowVariant(t, func(t *testing.T, k *rowFuncs) {
		x, dp := make([]float32, rowUnit), make([]float32, rowUnit)
		for bits := uint32(0x33000000); bits < 0x42aa0000; bits += 0x1357 * rowUnit {
			want := make([]float64, rowUnit)
			for i := range x {
				x[i] = -math.Float32frombits(bits + uint32(i)*0x1357)
				want[i] = math.Exp(float64(x[i]))
			}
			k.grad(&x[0], &dp[0], rowUnit, 1, 0, 0)
			if err := kerneltest.Close(x, want, func(i int) float64 { return 4 * kerneltest.Eps * want[i] }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRowsKeepNaN(t *testing.T) {
	eachRowVariant(t, func(t *testing.T, k *rowFuncs) {
		for i := range 2 * rowUnit {
			x, dp := make([]float32, 2*rowUnit), make([]float32, 2*rowUnit)
			x[i] = float32(math.NaN())
			if _, sum := k.softmax(&x[0], len(x), 1, minusInf); sum == sum || x[i] == x[i] {
				t.Errorf("softmax: NaN at %d gives %v, sum %v", i, x[i], sum)
			}
			s := make([]float32, 2*rowUnit)
			s[i] = float32(math.NaN())
			k.grad(&s[0], &dp[0], len(s), 1, 0, 0)
			if s[i] == s[i] || dp[i] == dp[i] {
				t.Errorf("grad: NaN at %d gives %v and %v", i, s[i], dp[i])
			}
		}
	})
}

func TestFramed(t *testing.T) {
	for lo := range 40 {
		for hi := lo + 1; hi <= 64; hi++ {
			row := make([]float32, 64)
			for i := range row {
				row[i] = 7
			}
			x := framed(row, lo, hi, minusInf)
			if len(x)%rowUnit != 0 || len(x) < hi-lo {
				t.Fatalf("lo %d hi %d: %d elements", lo, hi, len(x))
			}
			for i, v := range x {
				x[i] = 0
				if at := lo&^(rowUnit-1) + i; (at >= lo && at < hi) != (v == 7) {
					t.Fatalf("lo %d hi %d: place %d holds %v", lo, hi, at, v)
				}
			}
			for i, v := range row {
				if v != 0 {
					t.Fatalf("lo %d hi %d: place %d outside holds %v", lo, hi, i, v)
				}
			}
		}
	}
}
