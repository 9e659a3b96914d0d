package cpu

import (
	"testing"

	"mito/backend"
	"mito/backend/backendtest"
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

func TestConformance(t *testing.T) {
	backendtest.Run(t, open, backendtest.Options{Bitwise: true, ChecksValues: true})
}

func BenchmarkOps(b *testing.B) { backendtest.Benchmark(b, open) }
