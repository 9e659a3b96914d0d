package attn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/gemm"
	"mito/kernels/kerneltest"
	"mito/kernels/ref"
)

// TestAttendF32 compares every position with float64 attention over the whole sequence, with windows from one position
// to more than the sequence, after writing nonsense behind the position as a rollback leaves it.
func TestAttendF32(t *testing.T) {
	defer func(v string) { _ = gemm.SetVariant(v) }(gemm.Variant())
	const time = 70
	for _, variant := range gemm.Variants() {
		if err := gemm.SetVariant(variant); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct{ heads, kv, d, window int }{
			{1, 1, 1, 0}, {4, 4, 24, 0}, {4, 2, 32, 0}, {6, 1, 10, 0}, {2, 2, 64, 0}, {2, 1, 70, 0},
			{4, 2, 8, 1}, {4, 2, 8, 31}, {4, 2, 8, 32}, {4, 2, 8, 33}, {4, 2, 8, 67}, {20, 2, 16, 5},
		} {
			t.Run(fmt.Sprintf("%s/%+v", variant, tc), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(tc.d)))
				draw := func(n int) []float32 {
					x := make([]float32, n)
					for i := range x {
						x[i] = 4*rng.Float32() - 2
					}
					return x
				}
				scale := float32(1 / math.Sqrt(float64(tc.d)))
				s := &DecodeShape{Heads: tc.heads, KVHeads: tc.kv, HeadDim: tc.d, Window: tc.window, PageSize: time, Scale: scale}
				q, k, v := draw(time*tc.heads*tc.d), draw(time*tc.kv*tc.d), draw(time*tc.kv*tc.d)
				wide := func(x []float32) []float64 {
					y := make([]float64, len(x))
					for i := range x {
						y[i] = float64(x[i])
					}
					return y
				}
				oracle := ref.Attention{Batch: 1, Time: time, Heads: tc.heads, KVHeads: tc.kv, HeadDim: tc.d, Window: tc.window, Scale: float64(scale)}
				want, _ := oracle.Forward(wide(q), wide(k), wide(v))
				pages, sc, table := NewPagesF32(1, s), NewScratchF32(s, time), []int32{0}
				page := &pages[0]
				if page.Bytes() != s.BytesF32() {
					t.Fatalf("a page takes %d bytes, the shape says %d", page.Bytes(), s.BytesF32())
				}
				nan := make([]float32, tc.kv*tc.d)
				for i := range nan {
					nan[i] = float32(math.NaN())
				}
				out := make([]float32, tc.heads*tc.d)
				// A score, up to 4 in size, is off by √D roundings of that, and a probability by as much of itself. The
				// values, at most 2, are summed over up to T positions.
				tol := kerneltest.SumTolerance(tc.d, 4) + kerneltest.SumTolerance(time, 1)
				for pos := range time {
					s.StoreF32(page, pos, k[pos*tc.kv*tc.d:][:tc.kv*tc.d], v[pos*tc.kv*tc.d:][:tc.kv*tc.d])
					if pos+1 < time {
						s.StoreF32(page, pos+1, nan, nan)
					}
					s.AttendF32(out, q[pos*tc.heads*tc.d:][:len(out)], pages, table, pos, sc)
					for i, x := range out {
						if w := want[pos*len(out)+i]; !(math.Abs(float64(x)-w) <= tol) {
							t.Fatalf("position %d, element %d: %v, want %v within %g", pos, i, x, w, tol)
						}
					}
				}
				if n := testing.AllocsPerRun(10, func() { s.AttendF32(out, q, pages, table, time-1, sc) }); n != 0 {
					t.Fatalf("%v allocations", n)
				}
			})
		}
	}
}

// TestPagesF32 wants the bits of one page from pages of every size in any order, with windows, and after NaN was stored behind
// the position.
func TestPagesF32(t *testing.T) {
	defer func(v string) { _ = gemm.SetVariant(v) }(gemm.Variant())
	const time, heads, kv, d = 75, 6, 2, 10
	rng := rand.New(rand.NewPCG(2, 2))
	draw := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = 4*rng.Float32() - 2
		}
		return x
	}
	q, k, v := draw(time*heads*d), draw(time*kv*d), draw(time*kv*d)
	nan := make([]float32, kv*d)
	for i := range nan {
		nan[i] = float32(math.NaN())
	}
	for _, variant := range gemm.Variants() {
		if err := gemm.SetVariant(variant); err != nil {
			t.Fatal(err)
		}
		for _, window := range []int{0, 1, 5, 32, 33} {
			whole := &DecodeShape{Heads: heads, KVHeads: kv, HeadDim: d, Window: window, PageSize: time, Scale: 0.3}
			one, first := NewPagesF32(1, whole), NewScratchF32(whole, 1)
			for _, size := range []int{1, 3, 16, 31, 32, 40, 64} {
				s := *whole
				s.PageSize = size
				n := (time + size - 1) / size
				pages, sc, table := NewPagesF32(n, &s), NewScratchF32(&s, 1), make([]int32, n)
				for i := range table {
					table[i] = int32(n - 1 - i)
				}
				want, got := make([]float32, heads*d), make([]float32, heads*d)
				for pos := range time {
					key, value, query := k[pos*kv*d:][:kv*d], v[pos*kv*d:][:kv*d], q[pos*heads*d:][:heads*d]
					whole.StoreF32(&one[0], pos, key, value)
					s.StoreF32(&pages[table[pos/size]], pos%size, key, value)
					if next := pos + 1; next < time {
						s.StoreF32(&pages[table[next/size]], next%size, nan, nan)
					}
					whole.AttendF32(want, query, one, []int32{0}, pos, first)
					s.AttendF32(got, query, pages, table, pos, sc)
					for i := range want {
						if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
							t.Fatalf("%s, window %d, pages of %d, position %d, element %d: %v, on one page %v", variant, window, size, pos, i, got[i], want[i])
						}
					}
				}
			}
		}
	}
}
