package cpu

import (
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/backendtest"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/qgemm"
	"mito/kernels/sparse"
	"mito/kernels/vec"
)

func open(t testing.TB) backend.Backend { return openThreads(t, 2) }

func openThreads(t testing.TB, n int) *Backend {
	b := New(n)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// kernels are the packages whose variants the backend computes with.
var kernels = []struct {
	variants func() []string
	variant  func() string
	set      func(string) error
}{
	{gemm.Variants, gemm.Variant, gemm.SetVariant}, {vec.Variants, vec.Variant, vec.SetVariant}, {attn.Variants, attn.Variant, attn.SetVariant},
	{qgemm.Variants, qgemm.Variant, qgemm.SetVariant}, {sparse.Variants, sparse.Variant, sparse.SetVariant},
}

// The seam holds, and its tolerances are tight, with the variants that were chosen, with the slowest of every package and
// with those between.
func TestConformance(t *testing.T) {
	o := backendtest.Options{Bitwise: true, ChecksValues: true}
	t.Run("chosen", func(t *testing.T) { backendtest.Run(t, open, o) })
	if testing.Short() {
		return // every package has its own test of every variant
	}
	levels := 1
	for _, k := range kernels {
		levels = max(levels, len(k.variants()))
	}
	for level := range levels - 1 {
		var names []string
		for _, k := range kernels {
			v := k.variants()
			name, chosen := v[min(level, len(v)-1)], k.variant()
			if err := k.set(name); err != nil {
				t.Fatal(err)
			}
			defer k.set(chosen)
			names = append(names, name)
		}
		t.Run(strings.Join(names, " "), func(t *testing.T) { backendtest.Run(t, open, o) })
	}
}

func BenchmarkOps(b *testing.B) { backendtest.Benchmark(b, open) }
