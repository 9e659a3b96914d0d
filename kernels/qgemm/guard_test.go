package qgemm

import (
	"testing"

	"mito/kernels/kerneltest"
)

// TestGuards puts every operand against an unreadable page, at either end.
func TestGuards(t *testing.T) {
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		rng := kerneltest.Rand(t.Name())
		for _, side := range kerneltest.Sides {
			for _, n := range []int{1, 31, 32, 64, 65} {
				for _, k := range []int{1, 4, 5, 8, 20, 96, 99} {
					for _, rows := range []int{1, 2, 3, 4, 7} {
						w := kerneltest.Int8s(rng, make([]int8, n*k), false)
						p, err := Pack(w, n, k)
						if err != nil {
							t.Fatal(err)
						}
						p.w = kerneltest.Copy(t, p.w, side)
						p.corr = kerneltest.Copy(t, p.corr, side)
						x := kerneltest.Int8s(rng, kerneltest.Guarded[int8](t, rows*k, side), false)
						acc := kerneltest.Guarded[int32](t, rows*n, side)
						p.MulRows(acc, x, rows)
						if err := kerneltest.Equal(acc, oracle(w, n, k, x, rows)); err != nil {
							t.Fatalf("n=%d k=%d rows=%d: %v", n, k, rows, err)
						}
					}
				}
			}
		}
	})
}
