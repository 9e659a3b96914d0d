package attn

import (
	"fmt"
	"testing"
	"time"

	"mito/kernels/gemm"
	"mito/kernels/parallel"
	"mito/kernels/peak"
)

// benchShapes are those of the 460K class (d 96) and the 7M class (d 384).
var benchShapes = []Shape{
	{8, 64, 4, 4, 24, 0, 0.2, nil},
	{8, 128, 3, 1, 32, 0, 0.18, nil},
	{4, 256, 6, 6, 64, 0, 0.125, nil},
	{2, 1024, 6, 2, 64, 0, 0.125, nil},
	{2, 1024, 6, 2, 64, 128, 0.125, nil},
}

func benchAttention(b *testing.B, products float64, f func(x *run, p *parallel.Pool)) {
	for _, threads := range []int{1, 2} {
		for _, s := range benchShapes {
			b.Run(fmt.Sprintf("%d/B%dT%dH%dG%dD%dW%d", threads, s.Batch, s.Time, s.Heads, s.KVHeads, s.HeadDim, s.Window), func(b *testing.B) {
				limit, err := peak.FMA(gemm.Variant())
				if err != nil {
					b.Fatal(err)
				}
				p := parallel.New(threads)
				defer p.Close()
				x := newRun(b, s)
				x.compute(p)
				best := time.Duration(1<<63 - 1)
				for b.Loop() {
					start := time.Now()
					f(x, p)
					best = min(best, time.Since(start))
				}
				// Only what is seen counts: two operations per multiply-add of each product.
				pairs := 0
				for i := range s.Time {
					pairs += i + 1 - s.first(0, i)
				}
				rate := products * 2 * float64(pairs*s.Batch*s.Heads*s.HeadDim) / best.Seconds() / 1e9
				b.ReportMetric(rate, "GFLOP/s")
				b.ReportMetric(100*rate/limit/float64(threads), "%peak")
				b.ReportMetric(float64(s.Batch*s.Time)/best.Seconds()/1e6, "Mtok/s")
			})
		}
	}
}

// The forward pass has two products of [T,D] and [D,T] size, the backward pass five.

func BenchmarkForward(b *testing.B) {
	benchAttention(b, 2, func(x *run, p *parallel.Pool) { Forward(x.out, x.lse, x.q, x.k, x.v, x.Shape, p) })
}

func BenchmarkBackward(b *testing.B) {
	benchAttention(b, 5, func(x *run, p *parallel.Pool) {
		Backward(x.dq, x.dk, x.dv, x.dout, x.out, x.lse, x.q, x.k, x.v, x.Shape, p)
	})
}
