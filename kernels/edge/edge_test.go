package edge

import (
	"fmt"
	"math"
	"testing"

	"mito/kernels/kerneltest"
	"mito/kernels/vec"
)

func TestChains(t *testing.T) {
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		rng := kerneltest.Rand(t.Name())
		for _, side := range kerneltest.Sides {
			for _, n := range []int{1, 7, 8, 15, 16, 24, 32, 48, 96, 100, 384} {
				for _, size := range []float32{0, 1e-38, 1e-20, 1e-3, 1, 1e19, float32(math.Inf(1)), float32(math.NaN())} {
					name := fmt.Sprintf("n=%d size=%v", n, size)
					row := func() []float32 { return kerneltest.Normal(rng, kerneltest.Guarded[float32](t, n, side)) }
					x, gain, h, q := row(), row(), row(), kerneltest.Guarded[int8](t, n, side)
					for i := range x {
						x[i] *= size
					}
					wantH, wantQ := make([]float32, n), make([]int8, n)
					vec.RMSNorm(wantH, x, gain, 1e-5)
					want := vec.QuantizeRow(wantQ, wantH)
					got := RMSNormQuantize(q, h, x, gain, 1e-5)
					check(t, name+": norm", got, want, q, wantQ)

					acc := kerneltest.Guarded[int32](t, n, side)
					for i := range acc {
						acc[i] = int32(rng.IntN(2_000_001) - 1_000_000)
					}
					wantX := append([]float32(nil), x...)
					vec.AddScaleInt32(wantX, acc, 1e-6, gain)
					vec.RMSNorm(wantH, wantX, gain, 1e-5)
					want = vec.QuantizeRow(wantQ, wantH)
					got = ResidualRMSNormQuantize(q, h, x, gain, 1e-5, acc, 1e-6, gain)
					check(t, name+": residual", got, want, q, wantQ)
					if err := kerneltest.Bits(x, wantX); err != nil {
						t.Fatalf("%s: residual stream: %v", name, err)
					}

					vec.ScaleInt32(wantH, acc, size, gain)
					vec.ReLU2(wantH, wantH)
					want = vec.QuantizeRow(wantQ, wantH)
					got = ReLU2Quantize(q, h, acc, size, gain)
					check(t, name+": relu2", got, want, q, wantQ)
				}
			}
			for _, dim := range []int{2, 6, 8, 16, 24, 32, 40, 56, 64, 96, 120} {
				for _, heads := range []int{1, 2, 5} {
					x := kerneltest.Normal(rng, kerneltest.Guarded[float32](t, heads*dim, side))
					cos := kerneltest.Normal(rng, kerneltest.Guarded[float32](t, dim/2, side))
					sin := kerneltest.Normal(rng, kerneltest.Guarded[float32](t, dim/2, side))
					want := append([]float32(nil), x...)
					for h := range heads {
						vec.RoPE(want[h*dim:][:dim], cos, sin, false)
					}
					RoPEHeads(x, dim, cos, sin)
					if err := kerneltest.Bits(x, want); err != nil {
						t.Fatalf("rope, %d heads of %d: %v", heads, dim, err)
					}
				}
			}
		}
	})
}

func check(t *testing.T, name string, got, want float32, q, wantQ []int8) {
	t.Helper()
	if err := kerneltest.Bits([]float32{got}, []float32{want}); err != nil {
		t.Fatalf("%s: scale: %v", name, err)
	}
	if err := kerneltest.Equal(q, wantQ); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func BenchmarkChains(b *testing.B) {
	x, gain, h, q := make([]float32, 384), make([]float32, 384), make([]float32, 384), make([]int8, 384)
	acc := make([]int32, 384)
	for i := range x {
		x[i], gain[i], acc[i] = float32(i%17)-8, 1, int32(i%19)-9
	}
	for _, v := range Variants() {
		b.Run("norm/"+v, func(b *testing.B) {
			defer SetVariant(Variant())
			if err := SetVariant(v); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				RMSNormQuantize(q[:96], h, x, gain, 1e-5)
			}
		})
		for _, dim := range []int{24, 32} {
			b.Run(fmt.Sprintf("8 heads of %d turned/%s", dim, v), func(b *testing.B) {
				defer SetVariant(Variant())
				if err := SetVariant(v); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					RoPEHeads(x[:8*dim], dim, h[:dim/2], gain[:dim/2])
				}
			})
		}
		b.Run("relu2/"+v, func(b *testing.B) {
			defer SetVariant(Variant())
			if err := SetVariant(v); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				ReLU2Quantize(q, h, acc, 0.1, gain)
			}
		})
	}
}
