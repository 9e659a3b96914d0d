package qgemm

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mito/kernels/kerneltest"
)

// oracle is the sum written down in int64, which cannot overflow here.
func oracle(w []int8, n, k int, x []int8, rows int) []int32 {
	acc := make([]int32, rows*n)
	for m := range rows {
		for i := range n {
			var s int64
			for c := range k {
				s += int64(w[i*k+c]) * int64(x[m*k+c])
			}
			acc[m*n+i] = int32(s)
		}
	}
	return acc
}

func fill(rng *rand.Rand, n, lo, hi int) []int8 {
	v := make([]int8, n)
	for i := range v {
		v[i] = int8(lo + rng.IntN(hi-lo+1))
	}
	return v
}

func eachVariant(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	kerneltest.Variants(t, kernels, f)
}

var sizes = []int{1, 2, 3, 4, 5, 7, 8, 12, 31, 32, 33, 63, 64, 65, 96, 100, 172, 384}

func TestMulMatchesOracle(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, n := range sizes {
			for _, k := range sizes {
				rows := 1 + rng.IntN(9)
				w := fill(rng, n*k, -127, 127)
				p, err := Pack(w, n, k)
				if err != nil {
					t.Fatal(err)
				}
				for _, lo := range []int{-127, 0} {
					x := fill(rng, rows*k, lo, 127)
					want := oracle(w, n, k, x, rows)
					name := fmt.Sprintf("n=%d k=%d rows=%d lo=%d", n, k, rows, lo)
					got := make([]int32, rows*n)
					p.Mul(got, n, x, rows, 0, n, lo == 0)
					if !slices.Equal(got, want) {
						t.Fatalf("%s: wrong sums", name)
					}
					p.MulVec(got, x)
					if !slices.Equal(got[:n], want[:n]) {
						t.Fatalf("%s: MulVec differs", name)
					}
					checkPadded(t, name, p, x, rows, want, lo == 0)
				}
			}
		}
	})
}

// checkPadded runs the product with padded rows and in two ranges; it may write the padding but nothing behind it.
func checkPadded(t *testing.T, name string, p *Packed, x []int8, rows int, want []int32, unsigned bool) {
	t.Helper()
	const guard = 0x5a5a5a5a
	stride := p.PaddedN() + 3
	got := make([]int32, rows*stride)
	for i := range got {
		got[i] = guard
	}
	cut := p.N() / 2 / 32 * 32
	p.Mul(got, stride, x, rows, cut, p.N(), unsigned)
	p.Mul(got, stride, x, rows, 0, cut, unsigned)
	for m := range rows {
		row := got[m*stride:][:stride]
		if !slices.Equal(row[:p.N()], want[m*p.N():][:p.N()]) {
			t.Fatalf("%s: padded row %d differs", name, m)
		}
		for i, v := range row[p.N():] {
			if inPad := p.N()+i < p.PaddedN(); inPad && v != 0 || !inPad && v != guard {
				t.Fatalf("%s: row %d column %d is %d", name, m, p.N()+i, v)
			}
		}
	}
}

func TestExtremes(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		for _, k := range []int{1, 4, 7, 32, 96, 384, 4096} {
			for _, wv := range []int8{-127, 127} {
				for _, xv := range []int8{-127, 0, 127} {
					for _, rows := range []int{1, 4, 5} {
						w, x := slices.Repeat([]int8{wv}, 33*k), slices.Repeat([]int8{xv}, rows*k)
						p, err := Pack(w, 33, k)
						if err != nil {
							t.Fatal(err)
						}
						for _, unsigned := range []bool{false, true} {
							if unsigned && xv < 0 {
								continue
							}
							got := make([]int32, rows*33)
							p.Mul(got, 33, x, rows, 0, 33, unsigned)
							for i, v := range got {
								if want := int32(wv) * int32(xv) * int32(k); v != want {
									t.Fatalf("k=%d w=%d x=%d unsigned=%v: acc[%d] = %d, want %d", k, wv, xv, unsigned, i, v, want)
								}
							}
						}
					}
				}
			}
		}
	})
}

func TestPackRefuses(t *testing.T) {
	if _, err := Pack([]int8{1, -128, 3, 4}, 2, 2); !errors.Is(err, ErrMinus128) {
		t.Errorf("-128: got %v", err)
	}
	for _, s := range []struct{ n, k, have int }{{0, 1, 0}, {1, 0, 0}, {2, 3, 5}, {-1, -1, 1}, {1, MaxK + 1, MaxK + 1}} {
		if _, err := Pack(make([]int8, s.have), s.n, s.k); !errors.Is(err, ErrShape) {
			t.Errorf("[%d,%d] with %d weights: got %v", s.n, s.k, s.have, err)
		}
	}
}

func TestRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, k := range sizes {
		w := fill(rng, 37*k, -127, 127)
		p, err := Pack(w, 37, k)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]int8, k)
		for r := range 37 {
			if p.Row(dst, r); !slices.Equal(dst, w[r*k:][:k]) {
				t.Fatalf("k=%d: row %d differs", k, r)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p, err := Pack(make([]int8, 65*96), 65, 96)
	if err != nil {
		t.Fatal(err)
	}
	acc, x := make([]int32, 4*65), make([]int8, 4*96)
	if n := testing.AllocsPerRun(100, func() { p.MulRows(acc, x, 4) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkMatvec runs the matrix-vector products of one token of the 460K class.
func BenchmarkMatvec(b *testing.B) {
	for _, v := range Variants() {
		b.Run(v, func(b *testing.B) {
			was := Variant()
			defer SetVariant(was)
			if err := SetVariant(v); err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			var ps []*Packed
			bytes := 0
			add := func(n, k int) {
				p, err := Pack(fill(rng, n*k, -127, 127), n, k)
				if err != nil {
					b.Fatal(err)
				}
				ps = append(ps, p)
				bytes += n * k
			}
			for range 4 {
				add(288, 96)
				add(96, 96)
				add(384, 96)
				add(96, 384)
			}
			add(64, 96)
			acc, x := make([]int32, 384), fill(rng, 384, 0, 127)
			b.SetBytes(int64(bytes))
			// The fastest of short runs: the machine may be busy with other things.
			best := time.Duration(math.MaxInt64)
			for b.Loop() {
				const runs = 20
				start := time.Now()
				for range runs {
					for _, p := range ps {
						p.Mul(acc, p.N(), x[:p.K()], 1, 0, p.N(), p.K() == 384)
					}
				}
				best = min(best, time.Since(start)/runs)
			}
			b.ReportMetric(float64(best.Nanoseconds()), "best-ns/token")
		})
	}
}
