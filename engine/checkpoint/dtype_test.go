package checkpoint

import (
	"math"
	"testing"
)

// nearest is the definition of rounding to nearest even, by search in the sorted list of all finite values of a format.
func nearest(f float32, widen func(uint16) float32, inf uint16) uint16 {
	sign := uint16(math.Float32bits(f)>>16) & 0x8000
	x := math.Abs(float64(f))
	lo, hi := uint16(0), inf
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; float64(widen(mid)) <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	// The step to infinity is as wide as the one below it.
	above := float64(widen(hi))
	if hi == inf {
		above = 2*float64(widen(lo)) - float64(widen(lo-1))
	}
	below, up := x-float64(widen(lo)), above-x
	if up < below || up == below && lo&1 == 1 {
		return sign | hi
	}
	return sign | lo
}

func TestHalfPrecisionConversions(t *testing.T) {
	formats := []struct {
		name  string
		widen func(uint16) float32
		round func(float32) uint16
		inf   uint16
	}{{"F16", f16ToF32, f32ToF16, 0x7c00}, {"BF16", bf16ToF32, f32ToBF16, 0x7f80}}
	for _, f := range formats {
		for i := range 1 << 16 {
			h := uint16(i)
			w := f.widen(h)
			if nan := h&0x7fff > f.inf; nan != (w != w) {
				t.Fatalf("%s %#04x widens to %v", f.name, h, w)
			} else if nan {
				if back := f.round(w); back&0x7fff <= f.inf {
					t.Fatalf("%s %#04x: NaN becomes %#04x", f.name, h, back)
				}
				continue
			}
			if back := f.round(w); back != h {
				t.Fatalf("%s %#04x comes back as %#04x", f.name, h, back)
			}
			if h&0x7fff >= f.inf {
				continue
			}
			// The values beside it and beside the middle to the next one decide the rounding.
			next := f.widen(h + 1)
			if h&0x7fff == f.inf-1 {
				next = w + (w - f.widen(h-1))
			}
			mid := w/2 + next/2
			for _, x := range []float32{math.Nextafter32(w, next), math.Nextafter32(mid, w), mid, math.Nextafter32(mid, next)} {
				if got, want := f.round(x), nearest(x, f.widen, f.inf); got != want {
					t.Fatalf("%s %v (%#08x): rounds to %#04x, want %#04x", f.name, x, math.Float32bits(x), got, want)
				}
			}
		}
		if f.round(math.MaxFloat32) != f.inf || f.round(float32(math.Inf(-1))) != f.inf|0x8000 {
			t.Errorf("%s: infinities", f.name)
		}
	}
}

func TestParseDType(t *testing.T) {
	for d, size := range map[DType]int{F32: 4, F16: 2, BF16: 2, I8: 1, U8: 1, I32: 4, I64: 8} {
		if got, err := ParseDType(d.String()); got != d || err != nil || d.Size() != size {
			t.Errorf("%v: %v %v, %d bytes", d, got, err, d.Size())
		}
	}
	for _, bad := range []string{"", "F8", "none", "f32"} {
		if _, err := ParseDType(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, d := range []DType{0, Bool + 1, 255} {
		if d.Size() != 0 || d.String() != "none" {
			t.Errorf("%d: %v, %d bytes", uint8(d), d, d.Size())
		}
	}
}
