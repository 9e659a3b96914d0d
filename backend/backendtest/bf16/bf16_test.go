package bf16

import (
	"math"
	"slices"
	"testing"
)

// Every bfloat16 but NaN survives its way through float32, and what lies between two goes to the nearer one.
func TestRound(t *testing.T) {
	for h := range uint16(0x7f80) {
		x, next := Widen([]uint16{h})[0], Widen([]uint16{h + 1})[0]
		even := h + h&1
		half := math.Float32frombits(math.Float32bits(x) + 0x8000) // halfway in bits, which is halfway in value
		got := Round([]float32{x, -x, math.Nextafter32(half, 0), half, math.Nextafter32(half, next)})
		if want := []uint16{h, h | 0x8000, h, even, h + 1}; !slices.Equal(got, want) {
			t.Fatalf("%#x: got %#x, want %#x", h, got, want)
		}
	}
	if got := Round([]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}); !slices.Equal(got, []uint16{0x7fff, 0x7f80, 0xff80}) {
		t.Errorf("NaN and infinities: %#x", got)
	}
}
