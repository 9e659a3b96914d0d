package decode

import (
	"math"
	"testing"
	"time"

	"mito/engine/arch"
	"mito/engine/session"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/peak"
)

// class460K is the model that the decode benchmarks use.
func class460K() arch.Config {
	c := arch.Edge(64, 128, 4, 96, 4, 4)
	return c
}

func class7M() arch.Config { return arch.Edge(64, 256, 4, 384, 12, 4) }

// BenchmarkFloat32 decodes whole contexts, one sequence on one thread, and reports the mean over positions of the fastest
// step at each, which other programs on the machine disturb least, beside the products of a step alone and reading the
// weights only, measured in between.
func BenchmarkFloat32(b *testing.B) {
	for _, tc := range []struct {
		name string
		c    arch.Config
	}{{"460K", class460K()}, {"7M", class7M()}} {
		b.Run(tc.name, func(b *testing.B) { benchmarkFloat32(b, tc.c) })
	}
}

func benchmarkFloat32(b *testing.B, c arch.Config) {
	_, weights := floatModel(b, c, 1)
	r := must(NewFloat32(weights, nil, Options{})).(*float32Runtime)
	s := must(r.NewSession(1)).(*session.Session[attn.PageF32])
	read := 4 * r.params
	best, products, bound := make([]time.Duration, c.Context), time.Duration(math.MaxInt64), math.Inf(1)
	token := make([]int32, 1)
	for b.Loop() {
		s.Reset()
		for i := range c.Context {
			token[0] = int32(i % c.VocabSize)
			start := time.Now()
			if _, err := s.Step(token); err != nil {
				b.Fatal(err)
			}
			if d := time.Since(start); best[i] == 0 || d < best[i] {
				best[i] = d
			}
		}
		w := s.Worker().(*floatWorker)
		for range c.Context {
			start := time.Now()
			for l := range r.layers {
				r.layers[l].qkv.mul(w, w.qkv, w.h, 1<<10, 1, nil)
				r.layers[l].out.mul(w, w.h, w.heads, 1<<10, 1, nil)
				r.layers[l].up.mul(w, w.up, w.h, 1<<10, 1, nil)
				r.layers[l].down.mul(w, w.h, w.up, 1<<11, 1, nil)
			}
			r.head.mul(w, w.out, w.h, 1<<10, 1, nil)
			products = min(products, time.Since(start))
		}
		for _, v := range peak.Variants() {
			bound = min(bound, float64(read)/must(peak.Read(v, read)))
		}
	}
	total := 0.0
	for _, d := range best {
		total += float64(d.Nanoseconds()) / float64(c.Context)
	}
	b.ReportMetric(total, "ns/token")
	b.ReportMetric(1e9/total, "tok/s")
	b.ReportMetric(float64(products.Nanoseconds()), "product-ns/token")
	b.ReportMetric(bound/total, "of-read-bound")
	b.Logf("gemm %s, %d parameters, read-only bound %.0f ns", gemm.Variant(), r.params, bound)
}
