package sparse

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mito/kernels/kerneltest"
	"mito/kernels/qgemm"
)

// masked returns weights of which about the given share of 4×8 blocks is zero.
func masked(rng *rand.Rand, n, k int, zero float64) []int8 {
	w := kerneltest.Int8s(rng, make([]int8, n*k), false)
	for r := 0; r < n; r += BlockRows {
		for c := 0; c < k; c += BlockCols {
			if rng.Float64() >= zero {
				continue
			}
			for i := r; i < min(n, r+BlockRows); i++ {
				clear(w[i*k+c : i*k+min(k, c+BlockCols)])
			}
		}
	}
	return w
}

func dense(t testing.TB, w []int8, n, k int) *qgemm.Packed {
	t.Helper()
	p, err := qgemm.Pack(w, n, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pack(t testing.TB, w []int8, n, k int) *Packed {
	t.Helper()
	p, err := Pack(w, n, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDenseBits compares every variant with the dense kernel on the same weights, operands against guard pages.
func TestDenseBits(t *testing.T) {
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		rng := kerneltest.Rand(t.Name())
		for _, side := range kerneltest.Sides {
			for _, n := range []int{1, 3, 4, 31, 32, 64, 65, 96, 288} {
				for _, k := range []int{1, 7, 8, 9, 31, 32, 33, 96, 172, 384} {
					for _, zero := range []float64{0, 0.5, 0.75, 1} {
						rows := 1 + rng.IntN(4)
						w := masked(rng, n, k, zero)
						p, d := pack(t, w, n, k), dense(t, w, n, k)
						for i := range p.tiles {
							if tl := &p.tiles[i]; len(tl.w) > 0 {
								tl.w, tl.index = kerneltest.Copy(t, tl.w, side), kerneltest.Copy(t, tl.index, side)
								tl.locate()
							}
						}
						x := kerneltest.Int8s(rng, kerneltest.Guarded[int8](t, rows*k, side), rng.IntN(2) == 0)
						want := make([]int32, rows*n)
						d.MulRows(want, x, rows)
						name := fmt.Sprintf("n=%d k=%d rows=%d zero=%v", n, k, rows, zero)
						got := kerneltest.Guarded[int32](t, rows*n, side)
						p.MulRows(got, x, rows)
						if err := kerneltest.Equal(got, want); err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						for i := range x {
							x[i] = max(x[i], -x[i])
						}
						d.MulRows(want, x, rows)
						padded := kerneltest.Guarded[int32](t, rows*p.PaddedN(), side)
						cut := n / 2 / outRows * outRows
						p.Mul(padded, p.PaddedN(), x, rows, cut, n, true)
						p.Mul(padded, p.PaddedN(), x, rows, 0, cut, true)
						for m := range rows {
							if err := kerneltest.Equal(padded[m*p.PaddedN():][:n], want[m*n:][:n]); err != nil {
								t.Fatalf("%s: unsigned, padded: %v", name, err)
							}
						}
						clear(padded)
						for cut := 0; cut < n; cut += outRows {
							p.Mul(padded, p.PaddedN(), x, rows, cut, min(n, cut+outRows), false)
						}
						for m := range rows {
							if err := kerneltest.Equal(padded[m*p.PaddedN():][:n], want[m*n:][:n]); err != nil {
								t.Fatalf("%s: slice by slice: %v", name, err)
							}
						}
					}
				}
			}
		}
	})
}

// TestUnevenRows compares matrices whose block rows have between no and all blocks.
func TestUnevenRows(t *testing.T) {
	kinds := map[string]func(r, c int) bool{
		"one block":              func(r, c int) bool { return r == 5 && c == 3 },
		"one block in each row":  func(r, c int) bool { return c == r%12 },
		"full and empty in turn": func(r, c int) bool { return r%2 == 0 },
		"one full":               func(r, c int) bool { return r == 70 },
		"staircase":              func(r, c int) bool { return c < r%13 },
		"only the last column":   func(r, c int) bool { return c == 47 },
		"the last rows":          func(r, c int) bool { return r > 60 },
	}
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		rng := kerneltest.Rand(t.Name())
		for name, keep := range kinds {
			for _, k := range []int{96, 384} {
				const n = 288
				w := kerneltest.Int8s(rng, make([]int8, n*k), false)
				for i := range w {
					if !keep(i/k/BlockRows, i%k/BlockCols) {
						w[i] = 0
					}
				}
				x := kerneltest.Int8s(rng, kerneltest.Guarded[int8](t, k, kerneltest.Sides[0]), false)
				want, got := make([]int32, n), make([]int32, n)
				dense(t, w, n, k).MulVec(want, x)
				for i := range got {
					got[i] = -1
				}
				pack(t, w, n, k).MulVec(got, x)
				if err := kerneltest.Equal(got, want); err != nil {
					t.Errorf("%s, k=%d: %v", name, k, err)
				}
			}
		}
	})
}

// TestOtherVariant multiplies what was packed while another variant was chosen.
func TestOtherVariant(t *testing.T) {
	defer SetVariant(Variant())
	rng := kerneltest.Rand(t.Name())
	const n, k = 160, 384
	w := masked(rng, n, k, 0.6)
	x := kerneltest.Int8s(rng, make([]int8, k), false)
	want, got := make([]int32, n), make([]int32, n)
	dense(t, w, n, k).MulVec(want, x)
	for _, packed := range Variants() {
		if err := SetVariant(packed); err != nil {
			t.Fatal(err)
		}
		p := pack(t, w, n, k)
		for _, v := range Variants() {
			if err := SetVariant(v); err != nil {
				t.Fatal(err)
			}
			p.MulVec(got, x)
			if err := kerneltest.Equal(got, want); err != nil {
				t.Errorf("packed for %s, %s: %v", packed, v, err)
			}
		}
	}
}

func TestExtremes(t *testing.T) {
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		const n, k = 32, 1024
		for _, wv := range []int8{-127, 127} {
			for _, xv := range []int8{-127, 127} {
				acc := make([]int32, n)
				pack(t, slices.Repeat([]int8{wv}, n*k), n, k).MulVec(acc, slices.Repeat([]int8{xv}, k))
				for i, v := range acc {
					if want := int32(wv) * int32(xv) * k; v != want {
						t.Fatalf("w=%d x=%d: acc[%d] = %d, want %d", wv, xv, i, v, want)
					}
				}
			}
		}
	})
}

func TestRowAndSize(t *testing.T) {
	rng := kerneltest.Rand(t.Name())
	for _, zero := range []float64{0, 0.5, 0.9, 1} {
		const n, k = 70, 100
		w := masked(rng, n, k, zero)
		p := pack(t, w, n, k)
		row := make([]int8, k)
		for r := range n {
			if p.Row(row, r); !slices.Equal(row, w[r*k:][:k]) {
				t.Fatalf("row %d differs", r)
			}
		}
		stored, all := p.Blocks()
		if want := ((n + 3) / 4) * ((k + 7) / 8); all != want {
			t.Errorf("%d blocks, want %d", all, want)
		}
		if zero == 1 && (stored != 0 || len(p.tiles[0].w) != 0) {
			t.Errorf("%d blocks stored of a matrix of zeros", stored)
		}
		// Sorting leaves at most one block for each block row of a slice but the first, where counts change.
		if fill := len(p.tiles[0].index) - stored; fill > len(p.tiles[0].steps)*sliceRows+13*sliceRows {
			t.Errorf("zero share %v: %d blocks of filling for %d", zero, fill, stored)
		}
	}
}

// TestSmallerThanDense holds the memory against the formula: 34 bytes a block and little else.
func TestSmallerThanDense(t *testing.T) {
	rng := kerneltest.Rand(t.Name())
	const n, k = 384, 384
	for _, zero := range []float64{0.5, 0.75} {
		p := pack(t, masked(rng, n, k, zero), n, k)
		stored, _ := p.Blocks()
		if want := float64(34*stored + 3*(5*n+52*n/outRows)); float64(p.Bytes()) > 1.1*want {
			t.Errorf("%d bytes, the formula says %v", p.Bytes(), want)
		}
		if float64(p.Bytes()) > 1.15*(1-zero)*n*k*34/32+21*n {
			t.Errorf("%d bytes at %v zero blocks, dense has %d", p.Bytes(), zero, n*k)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	if _, err := Pack([]int8{1, -128, 3, 4}, 2, 2); !errors.Is(err, ErrMinus128) {
		t.Errorf("-128: got %v", err)
	}
	for _, s := range []struct{ n, k, have int }{{0, 1, 0}, {1, 0, 0}, {2, 3, 5}, {1, MaxK + 1, MaxK + 1}} {
		if _, err := Pack(make([]int8, s.have), s.n, s.k); !errors.Is(err, ErrShape) {
			t.Errorf("[%d,%d] with %d weights: got %v", s.n, s.k, s.have, err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := pack(t, masked(kerneltest.Rand(t.Name()), 96, 96, 0.5), 96, 96)
	acc, x := make([]int32, 2*96), make([]int8, 2*96)
	if n := testing.AllocsPerRun(100, func() { p.MulRows(acc, x, 2) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAgainstDense runs the products of one token of the 460K class, dense and sparse in turn, and reports the ratio of
// their best times in the same variant.
func BenchmarkAgainstDense(b *testing.B) {
	for _, v := range Variants() {
		for _, zero := range []float64{0.5, 0.75} {
			b.Run(fmt.Sprintf("%s/zero=%v", v, zero), func(b *testing.B) {
				defer SetVariant(Variant())
				defer qgemm.SetVariant(qgemm.Variant())
				if SetVariant(v) != nil || qgemm.SetVariant(v) != nil {
					b.Skip("no such variant of both")
				}
				rng := kerneltest.Rand("bench")
				var ds []*qgemm.Packed
				var ps []*Packed
				for range 4 {
					for _, s := range [][2]int{{288, 96}, {96, 96}, {384, 96}, {96, 384}} {
						w := masked(rng, s[0], s[1], zero)
						ds, ps = append(ds, dense(b, w, s[0], s[1])), append(ps, pack(b, w, s[0], s[1]))
					}
				}
				w := masked(rng, 64, 96, zero)
				ds, ps = append(ds, dense(b, w, 64, 96)), append(ps, pack(b, w, 64, 96))
				acc, x := make([]int32, 384), make([]int8, 384)
				for i := range x {
					x[i] = int8(rng.IntN(128))
				}
				const runs = 20
				td, tp := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
				for b.Loop() {
					start := time.Now()
					for range runs {
						for _, p := range ds {
							p.Mul(acc, p.N(), x[:p.K()], 1, 0, p.N(), p.K() == 384)
						}
					}
					td = min(td, time.Since(start)/runs)
					start = time.Now()
					for range runs {
						for _, p := range ps {
							p.Mul(acc, p.N(), x[:p.K()], 1, 0, p.N(), p.K() == 384)
						}
					}
					tp = min(tp, time.Since(start)/runs)
				}
				b.ReportMetric(float64(td)/float64(tp), "x-dense")
				b.ReportMetric(float64(tp.Nanoseconds()), "best-ns/token")
			})
		}
	}
}
