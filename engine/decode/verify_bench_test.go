package decode

import (
	"testing"
	"time"
)

// BenchmarkVerify compares reading 255 tokens one by one with reading them at once, in turns, as verifying a transcript does.
func BenchmarkVerify(b *testing.B) {
	for _, tc := range []struct {
		name string
		open func() Runtime
	}{
		{"7M float32", func() Runtime { return must(NewFloat32(second(floatModel(b, class7M(), 1)), nil, Options{})) }},
		{"460K INT8", func() Runtime {
			c := class460K()
			c.Context = 256
			return must(NewInt8(studentWeights(b, c, 1), nil, Options{}))
		}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			s := must(tc.open().NewSession(1))
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
				middle := time.Now()
				s.Reset()
				check(b, s.Score(0, tokens, func(int, []float32) error { return nil }))
				one, all = min(one, middle.Sub(start)), min(all, time.Since(middle))
			}
			b.ReportMetric(float64(one)/float64(all), "times-one-by-one")
			b.ReportMetric(255/one.Seconds(), "tok/s-one-by-one")
		})
	}
}
