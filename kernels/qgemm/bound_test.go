package qgemm

import (
	"testing"

	"mito/kernels/peak"
)

// BenchmarkReadBound measures how often a second this processor can read as many bytes as the weights of the 460K class.
func BenchmarkReadBound(b *testing.B) {
	const bytes = 4*(288*96+96*96+2*384*96) + 64*96
	for _, v := range peak.Variants() {
		b.Run(v, func(b *testing.B) {
			best := 0.0
			for b.Loop() {
				rate, err := peak.Read(v, bytes)
				if err != nil {
					b.Fatal(err)
				}
				best = max(best, rate)
			}
			b.ReportMetric(bytes/best, "best-ns/token") // bytes over GB/s
		})
	}
}
