package decode

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkVerify compares reading 255 tokens one by one with reading them at once, in turns, as verifying a transcript does.
func BenchmarkVerify(b *testing.B) {
	for _, tc := range []struct {
		name string
		open func(o Options) Runtime
	}{
		{"7M float32", func(o Options) Runtime { return must(NewFloat32(second(floatModel(b, class7M(), 1)), nil, o)) }},
		{"460K INT8", func(o Options) Runtime {
			c := class460K()
			c.Context = 256
			return must(NewInt8(studentWeights(b, c, 1), nil, o))
		}},
	} {
		for threads := 1; threads <= 2; threads++ {
			b.Run(fmt.Sprintf("%s, %d threads", tc.name, threads), func(b *testing.B) { benchmarkVerify(b, tc.open(Options{Threads: threads})) })
		}
	}
}

func benchmarkVerify(b *testing.B, r Runtime) {
	defer r.Close()
	s := must(r.NewSession(1))
	tokens := make([]int32, 255)
	for i := range tokens {
		tokens[i] = int32(i * 7 % 64)
	}
	one, all := time.Duration(1<<62), time.Duration(1<<62) // of the fastest, which other programs disturb least
	for b.Loop() {
		s.Reset()
		start := time.Now()
		for _, id := range tokens {
			must(s.Step([]int32{id}))
		}
		one = min(one, time.Since(start))
		for range 8 { // another thread that slept has woken after the first
			s.Reset()
			start = time.Now()
			check(b, s.Score(0, tokens, func(int, []float32) error { return nil }))
			all = min(all, time.Since(start))
		}
	}
	b.ReportMetric(float64(one)/float64(all), "times-one-by-one")
	b.ReportMetric(255/one.Seconds(), "tok/s-one-by-one")
}
