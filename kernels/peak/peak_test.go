package peak

import (
	"errors"
	"testing"

	"mito/kernels/isa"
	"mito/kernels/kerneltest"
)

func TestRatesArePlausible(t *testing.T) {
	kerneltest.Variants(t, dispatch, func(t *testing.T) {
		v := dispatch.Variant()
		fma, err := FMA(v)
		if err != nil || fma < 0.01 || fma > 1e4 {
			t.Errorf("%s: FMA %v GFLOP/s, %v", v, fma, err)
		}
		mac, err := MAC(v)
		if err != nil || mac < 0.01 || mac > 1e5 {
			t.Errorf("%s: MAC %v G/s, %v", v, mac, err)
		}
		for _, n := range []int{16 << 10, 512 << 10} {
			gb, err := Read(v, n)
			if err != nil || gb < 0.01 || gb > 1e4 {
				t.Errorf("%s: read %v GB/s, %v", v, gb, err)
			}
			t.Logf("%s: %.1f GFLOP/s, %.1f GMAC/s, %.1f GB/s over %d KB", v, fma, mac, gb, n>>10)
		}
	})
}

func TestUnknownVariant(t *testing.T) {
	if _, err := FMA("none"); !errors.Is(err, isa.ErrUnknownVariant) {
		t.Error(err)
	}
	if _, err := MAC("none"); !errors.Is(err, isa.ErrUnknownVariant) {
		t.Error(err)
	}
	if _, err := Read("none", 1); !errors.Is(err, isa.ErrUnknownVariant) {
		t.Error(err)
	}
}
