package student

import (
	"math"
	"testing"
	"time"

	"mito/engine/arch"
	"mito/kernels/peak"
	"mito/kernels/qgemm"
)

// class460K is the model that the decode benchmarks use: d 96, 4 layers, MLP 384 ReLU², V 64, context 128.
func class460K() arch.Config {
	c := configs()["class 460K"]
	return c
}

// BenchmarkDecode decodes whole contexts of the 460K class, one sequence on one thread. It reports the fastest context,
// per token, the part that is not matrix-vector products, and the ratio to reading the weights only, for the best variants
// of this processor and for those of an AVX2 machine.
func BenchmarkDecode(b *testing.B) {
	b.Run("best", benchmarkDecode)
	b.Run("avx2", func(b *testing.B) {
		for _, p := range variantPackages() {
			was := p.variants[len(p.variants)-1]
			if err := p.set("avx2"); err != nil {
				b.Skip(err)
			}
			defer p.set(was)
		}
		benchmarkDecode(b)
	})
}

func benchmarkDecode(b *testing.B) {
	m := newModel(b, randomWeights(class460K(), 1), Options{})
	s := newSession(b, m, 1)
	n := m.cfg.Context
	best, products := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	token := make([]int32, 1)
	w := s.Worker().(*worker)
	for b.Loop() {
		s.Reset()
		start := time.Now()
		for i := range n {
			token[0] = int32(i % 64)
			if _, err := s.Step(token); err != nil {
				b.Fatal(err)
			}
		}
		best = min(best, time.Since(start)/time.Duration(n))
		start = time.Now()
		for range n {
			for l := range m.layers {
				m.layers[l].qkv.mul(w, 1, false)
				m.layers[l].out.mul(w, 1, false)
				m.layers[l].up.mul(w, 1, false)
				m.layers[l].down.mul(w, 1, true)
			}
			m.head.mul(w, 1, false)
		}
		products = min(products, time.Since(start)/time.Duration(n))
	}
	rate := 0.0
	for range 5 {
		for _, v := range peak.Variants() {
			r, err := peak.Read(v, m.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			rate = max(rate, r)
		}
	}
	bound := float64(m.Bytes()) / rate // ns
	b.ReportMetric(float64(best.Nanoseconds()), "ns/token")
	b.ReportMetric(float64(products.Nanoseconds()), "product-ns/token")
	b.ReportMetric(1-float64(products)/float64(best), "other/total")
	b.ReportMetric(bound/float64(best.Nanoseconds()), "of-read-bound")
	b.Logf("qgemm %s, read-only bound %.0f ns", qgemm.Variant(), bound)
}

// BenchmarkBatch plays as games do: 64 prompts of 12 tokens at once, then three steps.
func BenchmarkBatch(b *testing.B) {
	m := newModel(b, randomWeights(class460K(), 1), Options{})
	const batch, prompt, steps = 64, 12, 3
	s := newSession(b, m, batch)
	prompts, step := make([][]int32, batch), make([]int32, batch)
	for i := range prompts {
		for j := range prompt {
			prompts[i] = append(prompts[i], int32((i*7+j*3)%64))
		}
	}
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		s.Reset()
		start := time.Now()
		if _, err := s.PrefillBatch(prompts); err != nil {
			b.Fatal(err)
		}
		for range steps {
			if _, err := s.Step(step); err != nil {
				b.Fatal(err)
			}
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(batch*(prompt+steps)/best.Seconds(), "tok/s")
}
