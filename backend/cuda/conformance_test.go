//go:build cuda && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"testing"

	"mito/backend"
	"mito/backend/backendtest"
	"mito/backend/cuda"
)

// open opens the first GPU, or the emulator where that is built in, and skips where there is neither.
func open(t testing.TB, p backend.Precision) *cuda.Backend {
	t.Helper()
	b, err := cuda.Open(backend.Options{Precision: p})
	if errors.Is(err, backend.ErrUnavailable) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

func TestConformance(t *testing.T) {
	for _, p := range []struct {
		precision backend.Precision
		factorEps float64
	}{{backend.Float32, 0}, {backend.BFloat16, 0x1p-8}} {
		t.Run(p.precision.String(), func(t *testing.T) {
			backendtest.Run(t, func(t testing.TB) backend.Backend { return open(t, p.precision) },
				backendtest.Options{FactorEps: p.factorEps})
		})
	}
}
