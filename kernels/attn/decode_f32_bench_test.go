package attn

import (
	"fmt"
	"testing"
)

// BenchmarkAttendF32 attends to n positions with the heads of the 460K class.
func BenchmarkAttendF32(b *testing.B) {
	for _, n := range []int{1, 16, 64, 128} {
		s := &DecodeShape{Heads: 4, KVHeads: 4, HeadDim: 24, PageSize: 128, Scale: 0.2}
		pages, sc, table := NewPagesF32(1, s), NewScratchF32(s, 128), []int32{0}
		out, q := make([]float32, 96), make([]float32, 96)
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			for b.Loop() {
				s.AttendF32(out, q, pages, table, n-1, sc)
			}
		})
	}
}
