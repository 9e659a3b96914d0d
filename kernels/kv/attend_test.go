package kv

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"mito/kernels/kerneltest"
)

// oracleQS8 is AttendQS8 written on whole float64 rows: the quantised values are exact there, so only the roundings of scores
// and weights differ. It returns the sum of the weights of the head where it is smallest, the largest weight being 1.
func oracleQS8(out []float64, q []float32, k, v [][]float32, s *Shape, pos int) (least float64) {
	least = math.Inf(1)
	first := 0
	if s.Window > 0 {
		first = max(0, pos-s.Window+1)
	}
	d := s.HeadDim
	quant := func(x []float32) []float64 {
		var a float64
		for _, v := range x {
			a = max(a, math.Abs(float64(v)))
		}
		y := make([]float64, len(x))
		for i, v := range x {
			if a > 0 {
				y[i] = math.Round(float64(v)*127/a) * a / 127
			}
		}
		return y
	}
	for h := range s.Heads {
		g := h * s.KVHeads / s.Heads
		qh := quant(q[h*d:][:d])
		p := make([]float64, pos+1)
		best := math.Inf(-1)
		for t := first; t <= pos; t++ {
			for i, v := range quant(k[t][g*d:][:d]) {
				p[t] += v * qh[i] * float64(s.Scale)
			}
			best = max(best, p[t])
		}
		var z float64
		for t := first; t <= pos; t++ {
			p[t] = math.Exp(p[t] - best)
			z += p[t]
		}
		least = min(least, z)
		clear(out[h*d:][:d])
		for t := first; t <= pos; t++ {
			for i, v := range quant(v[t][g*d:][:d]) {
				out[h*d+i] += p[t] / z * v
			}
		}
	}
	return least
}

type decodeCase struct {
	Shape
	pos int
}

func decodeCases() []decodeCase {
	var out []decodeCase
	for _, d := range []int{1, 4, 6, 8, 16, 24, 32, 40, 64, 80, 128} {
		for _, page := range []int{1, 3, 16, 48} {
			for _, window := range []int{0, 1, 5, 16, 17} {
				for _, pos := range []int{0, 1, 7, 15, 16, 31, 47, 48, 100} {
					heads := [][2]int{{4, 4}, {4, 2}, {3, 1}}[(d+pos+window)%3]
					out = append(out, decodeCase{Shape{
						Heads: heads[0], KVHeads: heads[1], HeadDim: d, Window: window, PageSize: page, Scale: float32(1 / math.Sqrt(float64(d))),
					}, pos})
				}
			}
		}
	}
	return out
}

// TestAttendQS8 compares every variant with the generic one bit by bit, and that with the oracle.
func TestAttendQS8(t *testing.T) {
	defer SetVariant(Variant())
	rng := kerneltest.Rand(t.Name())
	for _, c := range decodeCases() {
		s := &c.Shape
		d := s.HeadDim
		pages := NewPagesQS8((c.pos+s.PageSize)/s.PageSize+1, s)
		table := make([]int32, len(pages))
		for i := range table {
			table[i] = int32(len(pages) - 1 - i)
		}
		sc := NewScratchQS8(s, 1)
		var k, v [][]float32
		for pos := range c.pos + 1 {
			k = append(k, kerneltest.Normal(rng, make([]float32, s.KVHeads*d)))
			v = append(v, kerneltest.Normal(rng, make([]float32, s.KVHeads*d)))
			if pos%13 == 5 {
				clear(v[pos][:d]) // a scale of zero
			}
			s.StoreQS8(&pages[table[pos/s.PageSize]], pos%s.PageSize, k[pos], v[pos], sc)
		}
		q := kerneltest.Copy(t, kerneltest.Normal(rng, make([]float32, s.Heads*d)), kerneltest.Sides[0])
		var want []float32
		for _, name := range Variants() {
			if err := SetVariant(name); err != nil {
				t.Fatal(err)
			}
			got := kerneltest.Guarded[float32](t, s.Heads*d, kerneltest.Sides[0])
			sc := NewScratchQS8(s, 1)
			s.AttendQS8(got, q, pages, table, 0, sc) // makes what is for all heads, which then has to grow
			s.AttendQS8(got, q, pages, table, c.pos, sc)
			if want == nil {
				want = got
				exact := make([]float64, len(got))
				z := oracleQS8(exact, q, k, v, s, c.pos)
				// Of each weight, what two cut scores and the polynomial are off by: 2·2^-11 octaves and 0.03%. A cut value scale is
				// off by 2^-14 of the largest, a power by half a step of 2^-15 and a weight of 2^-14, of each position. Values are
				// below 4.
				tol := 4 * (0.00098 + 0x1p-14 + float64(c.pos+1)*(0x1p-16+0x1p-15)/z)
				if err := kerneltest.Close(got, exact, func(int) float64 { return tol }); err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
			}
			if err := kerneltest.Bits(got, want); err != nil {
				t.Fatalf("%+v: %s: %v", c, name, err)
			}
		}
	}
	for _, name := range Variants() {
		kerneltest.Ran(t, kernels.Package(), name)
	}
}

// TestPow2 tries every exponent: within 0.03% of a half, as large as the ends say, and nothing behind 16 octaves.
func TestPow2(t *testing.T) {
	for d := range int32(1 << 17) {
		want := 32767 * math.Exp2(-float64(d)/2048)
		if got := float64(Pow2(d)); math.Abs(got-want) > 0.0003*want+0.5 {
			t.Fatalf("Pow2(%d) = %v, want %v", d, got, want)
		}
	}
	if Pow2(0) != 32767 || Pow2(math.MaxInt32) != 0 {
		t.Errorf("Pow2(0) = %d, of the largest %d", Pow2(0), Pow2(math.MaxInt32))
	}
}

// TestScoresBeyond covers scores that no integer holds, at the ends of a window and inside it, and weights that fall to 0.
func TestScoresBeyond(t *testing.T) {
	s := &Shape{Heads: 1, KVHeads: 1, HeadDim: 8, PageSize: 16, Window: 4, Scale: 1}
	row := func(x float32) []float32 { return []float32{x, x, x, x, x, x, x, x} }
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		for _, tc := range []struct {
			key  float32
			at   int
			want float32 // of values that count positions; NaN for not a number
		}{
			{1e6, 6, float32(math.NaN())}, {-1e6, 9, float32(math.NaN())}, {1e6, 5, 7.5}, {1e6, 10, 7.5}, {100, 7, 7}, {-100, 7, 23.0 / 3},
		} {
			pages, sc := NewPagesQS8(1, s), NewScratchQS8(s, 1)
			for pos := range 12 {
				key := float32(1)
				if pos == tc.at {
					key = tc.key
				}
				s.StoreQS8(&pages[0], pos, row(key), row(float32(pos)), sc)
			}
			out := row(99)
			s.AttendQS8(out, row(30), pages, []int32{0}, 9, sc) // 6 to 9
			for i, x := range out {
				if nan := x != x; nan != (tc.want != tc.want) || !nan && math.Abs(float64(x-tc.want)) > 0.003 {
					t.Errorf("%v: out[%d] = %v", tc, i, x)
				}
			}
		}
	})
}

// TestAttendQS8Unusual covers zero and infinite scales, of which whole-head kernels refuse some.
func TestAttendQS8Unusual(t *testing.T) {
	inf := float32(math.Inf(1))
	s := &Shape{Heads: 2, KVHeads: 1, HeadDim: 8, PageSize: 16, Scale: 1}
	row := func(n int, x float32) []float32 {
		r := make([]float32, n)
		for i := range r {
			r[i] = x
		}
		return r
	}
	kerneltest.Variants(t, kernels, func(t *testing.T) {
		for name, tc := range map[string]struct{ q, k, v, want float32 }{
			"zero query": {0, 1, 1, 1}, "zero value": {1, 1, 0, 0}, "zero key": {1, 0, 1, 1},
			"infinite query": {inf, 1, 1, inf}, "infinite key": {1, inf, 1, inf}, "infinite value": {1, 1, inf, inf},
		} {
			pages, sc := NewPagesQS8(1, s), NewScratchQS8(s, 1)
			s.StoreQS8(&pages[0], 0, row(8, tc.k), row(8, tc.v), sc)
			out := row(16, 9)
			s.AttendQS8(out, row(16, tc.q), pages, []int32{0}, 0, sc)
			for i, x := range out {
				// Value scales lose up to one part in 2^14, and the power of 0 is 32767.
				if nan := x != x; nan != (tc.want == inf) || !nan && math.Abs(float64(x-tc.want)) > 0x1p-13 {
					t.Errorf("%s: out[%d] = %v", name, i, x)
				}
			}
		}
	})
}

// TestHeadLayout guards the offsets that the generated kernels were made with.
func TestHeadLayout(t *testing.T) {
	var a attendQS8
	var p PageQS8
	got := []uintptr{
		unsafe.Offsetof(a.q), unsafe.Offsetof(a.out), unsafe.Offsetof(a.pages), unsafe.Offsetof(a.table), unsafe.Offsetof(a.places),
		unsafe.Offsetof(a.first), unsafe.Offsetof(a.last), unsafe.Offsetof(a.blocks), unsafe.Offsetof(a.fromBlock),
		unsafe.Offsetof(a.pageBlocks), unsafe.Offsetof(a.heads), unsafe.Offsetof(a.groups), unsafe.Offsetof(a.dim),
		unsafe.Offsetof(a.padDim), unsafe.Offsetof(a.factor), unsafe.Offsetof(a.q8), unsafe.Offsetof(a.state),
		unsafe.Offsetof(a.records), unsafe.Offsetof(a.recordStep), unsafe.Offsetof(a.head),
	}
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("only 64-bit processors have generated kernels")
	}
	for i, o := range got {
		if o != uintptr(8*i) {
			t.Errorf("field %d at %d", i, o)
		}
	}
	pageGot := fmt.Sprint(unsafe.Sizeof(p), unsafe.Offsetof(p.k), unsafe.Offsetof(p.v), unsafe.Offsetof(p.kScale), unsafe.Offsetof(p.vScale),
		unsafe.Sizeof(headPlace{}), unsafe.Sizeof(headState{}))
	if pageGot != "96 0 24 48 72 24 32" {
		t.Errorf("page: %s", pageGot)
	}
}

func BenchmarkAttendQS8(b *testing.B) {
	s := &Shape{Heads: 4, KVHeads: 4, HeadDim: 24, PageSize: 64, Scale: 0.2}
	pages, sc := NewPagesQS8(2, s), NewScratchQS8(s, 1)
	rng := kerneltest.Rand(b.Name())
	table := []int32{0, 1}
	for pos := range 128 {
		s.StoreQS8(&pages[pos/64], pos%64, kerneltest.Normal(rng, make([]float32, 96)), kerneltest.Normal(rng, make([]float32, 96)), sc)
	}
	out, q := make([]float32, 96), kerneltest.Normal(rng, make([]float32, 96))
	for _, name := range Variants() {
		b.Run(name, func(b *testing.B) {
			if err := SetVariant(name); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for _, pos := range []int{15, 47, 79, 111} {
					s.AttendQS8(out, q, pages, table, pos, sc)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/head")
		})
	}
}
