package gemm

import (
	"fmt"
	"testing"
	"time"

	"mito/kernels/kerneltest"
	"mito/kernels/parallel"
	"mito/kernels/peak"
)

// benchShapes are 512³ and the products of a training step: x [M,K] times weights for the forward pass (NT) and the input
// gradient (NN), and the weight gradient (TN), where K counts the tokens.
var benchShapes = []struct {
	name           string
	m, n, k        int
	transA, transB bool
}{
	{"NN", 512, 512, 512, false, false},
	{"NT", 512, 512, 512, false, true},
	{"TN", 512, 512, 512, true, false},
	{"NT", 256, 96, 96, false, true},
	{"NT", 256, 288, 96, false, true},
	{"NT", 256, 96, 384, false, true},
	{"NT", 1024, 384, 96, false, true},
	{"NT", 4096, 96, 96, false, true},
	{"NT", 1024, 1536, 384, false, true},
	{"NT", 1024, 384, 1536, false, true},
	{"NN", 1024, 96, 384, false, false},
	{"NN", 256, 384, 384, false, false},
	{"NN", 4096, 384, 1536, false, false},
	{"TN", 96, 96, 1024, true, false},
	{"TN", 384, 96, 1024, true, false},
	{"TN", 384, 384, 4096, true, false},
	{"TN", 1536, 384, 1024, true, false},
	{"NT", 1024, 65, 96, false, true},

	// Those of adapters of rank 4 beside a weight [512,128].
	{"NT", 1024, 4, 128, false, true},
	{"NN", 1024, 4, 512, false, false},
	{"TN", 512, 4, 1024, true, false},
	{"TN", 4, 128, 1024, true, false},
	{"NN", 512, 128, 4, false, false},
}

// BenchmarkGemm reports the rate of one thread beside the rate of fused multiply-adds in registers, measured at once.
func BenchmarkGemm(b *testing.B) {
	for _, v := range Variants() {
		for _, s := range benchShapes {
			b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", v, s.name, s.m, s.n, s.k), func(b *testing.B) {
				benchGemm(b, v, problem(b, kerneltest.Rand(b.Name()), s.m, s.n, s.k, 0, s.transA, s.transB, fromZero, kerneltest.Begin), nil)
			})
		}
	}
}

func BenchmarkGemm2Threads(b *testing.B) {
	p := parallel.New(2)
	defer p.Close()
	for _, s := range benchShapes {
		b.Run(fmt.Sprintf("%s/%dx%dx%d", s.name, s.m, s.n, s.k), func(b *testing.B) {
			benchGemm(b, Variant(), problem(b, kerneltest.Rand(b.Name()), s.m, s.n, s.k, 0, s.transA, s.transB, fromZero, kerneltest.Begin), p)
		})
	}
}

func benchGemm(b *testing.B, variant string, a *Args, p *parallel.Pool) {
	chosen := Variant()
	if err := SetVariant(variant); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := SetVariant(chosen); err != nil {
			b.Error(err)
		}
	}()
	limit, err := peak.FMA(variant)
	if err != nil {
		b.Fatal(err)
	}
	Gemm(a, p)
	report(b, a.M*a.N*a.K, limit*float64(p.Threads()), func() { Gemm(a, p) })
}

// report runs f and reports its rate against the limit. Of both the best is taken, since other programs may be running.
func report(b *testing.B, multiplyAdds int, limit float64, f func()) time.Duration {
	best := time.Duration(1<<63 - 1)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	rate := 2 * float64(multiplyAdds) / best.Seconds() / 1e9
	b.ReportMetric(rate, "GFLOP/s")
	b.ReportMetric(100*rate/limit, "%peak")
	return best
}

// BenchmarkMulRows reports the rate at which packed weights are read beside that of only reading as many bytes.
func BenchmarkMulRows(b *testing.B) {
	for _, s := range [][2]int{{96, 96}, {384, 96}, {384, 384}, {1536, 384}} {
		w := Pack(kerneltest.Normal(kerneltest.Rand("weights"), make([]float32, s[0]*s[1])), s[0], s[1])
		for rows := 1; rows <= smallRows; rows++ {
			b.Run(fmt.Sprintf("%dx%d/%d", s[0], s[1], rows), func(b *testing.B) {
				y, x := make([]float32, rows*s[0]), make([]float32, rows*s[1])
				limit, err := peak.Read(Variant(), w.Bytes())
				if err != nil {
					b.Fatal(err)
				}
				fma, err := peak.FMA(Variant())
				if err != nil {
					b.Fatal(err)
				}
				w.MulRows(y, x, rows, nil)
				best := report(b, s[0]*s[1]*rows, fma, func() { w.MulRows(y, x, rows, nil) })
				rate := float64(w.Bytes()) / best.Seconds() / 1e9
				b.ReportMetric(100*rate/limit, "%read")
			})
		}
	}
}
