package attn

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"mito/kernels/gemm"
	"mito/kernels/isa"
	"mito/kernels/kerneltest"
	"mito/kernels/parallel"
	"mito/kernels/ref"
)

// eachVariant runs f with the products and the row kernels of every instruction set.
func eachVariant(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	limit := func(t *testing.T, level string) {
		if err := isa.Limit(level); err != nil {
			t.Fatal(err)
		}
	}
	levels := isa.Levels()
	t.Cleanup(func() { limit(t, levels[len(levels)-1]) })
	for _, level := range gemm.Variants() {
		t.Run(level, func(t *testing.T) {
			limit(t, level)
			f(t)
		})
	}
}

// run holds guarded operands and results of one shape.
type run struct {
	Shape
	q, k, v, dout, out, lse, dq, dk, dv []float32
}

func newRun(t testing.TB, s Shape) *run {
	r := kerneltest.Rand(fmt.Sprint(s))
	rows := s.Batch * s.Time
	alloc := func(n int) []float32 {
		return kerneltest.Normal(r, kerneltest.Guarded[float32](t, rows*n, kerneltest.End))
	}
	x := &run{Shape: s}
	for _, p := range []*[]float32{&x.q, &x.dout, &x.out, &x.dq} {
		*p = alloc(s.Heads * s.HeadDim)
	}
	for _, p := range []*[]float32{&x.k, &x.v, &x.dk, &x.dv} {
		*p = alloc(s.KVHeads * s.HeadDim)
	}
	x.lse = alloc(s.Heads)
	return x
}

func (x *run) compute(p *parallel.Pool) {
	Forward(x.out, x.lse, x.q, x.k, x.v, x.Shape, p)
	Backward(x.dq, x.dk, x.dv, x.dout, x.out, x.lse, x.q, x.k, x.v, x.Shape, p)
}

func (x *run) operands() []*[]float32 {
	return []*[]float32{&x.q, &x.k, &x.v, &x.dout, &x.out, &x.lse, &x.dq, &x.dk, &x.dv}
}

func (x *run) results() map[string][]float32 {
	return map[string][]float32{"out": x.out, "lse": x.lse, "dq": x.dq, "dk": x.dk, "dv": x.dv}
}

var shapes = []Shape{
	{1, 1, 1, 1, 1, 0, 1, nil},
	{1, 2, 1, 1, 3, 0, 0.7, nil},
	{2, 17, 2, 2, 8, 0, 0.35, nil},
	{1, 48, 2, 1, 16, 0, 0.25, nil},
	{2, 49, 4, 2, 24, 0, 0.2, nil},
	{1, 130, 3, 1, 32, 0, 0.17, nil},
	{1, 300, 2, 2, 7, 0, 0.4, nil},
	{1, 61, 2, 1, 33, 1, 0.2, nil},
	{1, 61, 2, 1, 20, 2, 0.2, nil},
	{2, 100, 2, 1, 16, 31, 0.25, nil},
	{1, 340, 1, 1, 12, 47, 0.3, nil},
	{1, 340, 1, 1, 12, 290, 0.3, nil},
	{1, 50, 2, 2, 96, 500, 0.1, nil},
}

func TestAgainstFloat64(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		for _, s := range shapes {
			x := newRun(t, s)
			x.compute(nil)
			want := oracle(x)
			for name, got := range x.results() {
				// Scores carry an error of a few eps times their size, here below 30; a result sums up to T·H of
				// terms weighted by them.
				norm := rms(want[name])
				tol := func(i int) float64 {
					return 60 * kerneltest.Eps * (math.Abs(want[name][i]) + norm + 1)
				}
				if err := kerneltest.Close(got, want[name], tol); err != nil {
					t.Errorf("%+v %s: %v", s, name, err)
				}
			}
		}
	})
}

// Rows that are not consecutive positions, under a window that counts positions: the oracle compares those, the kernels are
// given where each row begins to see.
func TestStarts(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		for _, s := range []Shape{
			{2, 33, 4, 2, 16, 9, 0.25, nil}, {1, 130, 2, 1, 24, 40, 0.2, nil}, {3, 70, 1, 1, 8, 1, 0.3, nil}, {2, 300, 2, 2, 12, 150, 0.3, nil}, {2, 20, 2, 1, 8, 1000, 0.3, nil},
		} {
			positions, window := make([]int32, s.Batch*s.Time), s.Window
			rng := kerneltest.Rand(fmt.Sprint("positions", s))
			for i := range positions {
				if i%s.Time > 0 {
					positions[i] = positions[i-1] + 1 + int32(rng.IntN(4))
				}
			}
			s.Window, s.Starts = 0, make([]int32, len(positions))
			for i := range positions {
				row := i - i%s.Time
				for positions[row+int(s.Starts[i])] <= positions[i]-int32(window) {
					s.Starts[i]++
				}
			}
			if err := errors.Join(s.Check(), s.CheckStarts()); err != nil {
				t.Fatal(err)
			}
			x := newRun(t, s)
			x.compute(nil)
			a := ref.Attention{Batch: s.Batch, Time: s.Time, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Window: window, Scale: float64(s.Scale), Positions: positions}
			want := oracleOf(x, &a)
			for name, got := range x.results() {
				norm := rms(want[name])
				if err := kerneltest.Close(got, want[name], func(i int) float64 { return 60 * kerneltest.Eps * (math.Abs(want[name][i]) + norm + 1) }); err != nil {
					t.Errorf("%+v %s: %v", s, name, err)
				}
			}
		}
	})
	for name, starts := range map[string][]int32{"too few": {0}, "later row": {0, 2, 0}, "falls": {0, 1, 0}, "negative": {-1, 0, 0}} {
		s := Shape{1, 3, 1, 1, 4, 0, 1, starts}
		if err := errors.Join(s.Check(), s.CheckStarts()); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func rms(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s / float64(max(len(x), 1)))
}

func oracle(x *run) map[string][]float64 {
	a := ref.Attention{Batch: x.Batch, Time: x.Time, Heads: x.Heads, KVHeads: x.KVHeads, HeadDim: x.HeadDim, Window: x.Window, Scale: float64(x.Scale)}
	return oracleOf(x, &a)
}

func oracleOf(x *run, a *ref.Attention) map[string][]float64 {
	q, k, v, dout := widen(x.q), widen(x.k), widen(x.v), widen(x.dout)
	out, lse := a.Forward(q, k, v)
	dq, dk, dv := a.Backward(dout, q, k, v)
	return map[string][]float64{"out": out, "lse": lse, "dq": dq, "dk": dk, "dv": dv}
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// The oracle's gradients are checked by finite differences of its forward pass, every element of a whole sequence.
func TestOracleGradient(t *testing.T) {
	for _, s := range []Shape{{1, 7, 4, 2, 3, 0, 0.5, nil}, {2, 6, 2, 1, 2, 3, 0.8, nil}} {
		x := newRun(t, s)
		a := ref.Attention{Batch: s.Batch, Time: s.Time, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Window: s.Window, Scale: float64(s.Scale)}
		q, k, v, dout := widen(x.q), widen(x.k), widen(x.v), widen(x.dout)
		loss := func() (l float64) {
			out, _ := a.Forward(q, k, v)
			for i, o := range out {
				l += o * dout[i]
			}
			return l
		}
		dq, dk, dv := a.Backward(dout, q, k, v)
		for name, g := range map[string]struct{ x, dx []float64 }{"q": {q, dq}, "k": {k, dk}, "v": {v, dv}} {
			for i := range g.x {
				const h = 1e-5
				old := g.x[i]
				g.x[i] = old + h
				up := loss()
				g.x[i] = old - h
				down := loss()
				g.x[i] = old
				// The difference quotient errs by h² times a third derivative of order one, and by the rounding of the
				// loss, some 1e-15, over 2h.
				if want := (up - down) / (2 * h); math.Abs(want-g.dx[i]) > 5e-10 {
					t.Fatalf("%+v d%s[%d]: %v, by differences %v", s, name, i, g.dx[i], want)
				}
			}
		}
	}
}

func TestThreadsAndBatchAreInvisible(t *testing.T) {
	pool := parallel.New(3)
	defer pool.Close()
	eachVariant(t, func(t *testing.T) {
		for _, s := range []Shape{{3, 150, 4, 2, 16, 0, 0.25, nil}, {1, 150, 2, 1, 24, 60, 0.2, nil}, {2, 350, 1, 1, 8, 270, 0.3, nil}} {
			whole, threads := newRun(t, s), newRun(t, s)
			whole.compute(nil)
			threads.compute(pool)
			want := whole.results()
			for name, got := range threads.results() {
				if err := kerneltest.Bits(got, want[name]); err != nil {
					t.Errorf("%+v %s on 3 threads: %v", s, name, err)
				}
			}
			for b := range s.Batch {
				one := threads.sequence(b)
				one.compute(pool)
				for name, got := range one.results() {
					n := len(got)
					if err := kerneltest.Bits(got, want[name][b*n:(b+1)*n]); err != nil {
						t.Errorf("%+v %s of sequence %d alone: %v", s, name, b, err)
					}
				}
			}
		}
	})
}

// sequence returns one sequence of the batch.
func (x *run) sequence(b int) *run {
	y := *x
	y.Batch = 1
	for _, p := range y.operands() {
		n := len(*p) / x.Batch
		*p = append([]float32(nil), (*p)[b*n:(b+1)*n]...)
	}
	return &y
}

// A change at position t must leave every earlier row of the output as it was, and every row outside the window.
func TestCausalAndWindow(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		for _, w := range []int{0, 1, 20} {
			s := Shape{1, 90, 2, 1, 16, w, 0.25, nil}
			x, y := newRun(t, s), newRun(t, s)
			const at = 37
			for d := range 16 {
				y.k[at*16+d]++
				y.v[at*16+d]--
			}
			x.compute(nil)
			y.compute(nil)
			for i := range s.Time {
				n := s.Heads * s.HeadDim
				same := kerneltest.Bits(x.out[i*n:(i+1)*n], y.out[i*n:(i+1)*n]) == nil
				if sees := i >= at && (w == 0 || i < at+w); same == sees {
					t.Errorf("window %d: position %d sees position %d: %v, want %v", w, i, at, !same, sees)
				}
			}
		}
	})
}

// Scores of ±1000 must neither overflow nor vanish.
func TestLargeScores(t *testing.T) {
	s := Shape{1, 300, 1, 1, 8, 0, 1, nil}
	x := newRun(t, s)
	for i := range x.q {
		x.q[i] *= 15
		x.k[i] *= 15
	}
	x.compute(nil)
	for name, got := range x.results() {
		for i, v := range got {
			if v != v || math.IsInf(float64(v), 0) {
				t.Fatalf("%s[%d] is %v", name, i, v)
			}
		}
	}
	want := oracle(x)
	// A score near 1000 has an error of 1000·eps·√D, and out moves by that times the difference of two values, about 2.
	tol := 1000 * math.Sqrt(8) * kerneltest.Eps * 2
	if err := kerneltest.Close(x.out, want["out"], func(int) float64 { return tol }); err != nil {
		t.Error(err)
	}
}

func TestNaNIsKept(t *testing.T) {
	for _, place := range []string{"q", "k", "v"} {
		s := Shape{1, 60, 1, 1, 16, 0, 0.25, nil}
		x := newRun(t, s)
		map[string][]float32{"q": x.q, "k": x.k, "v": x.v}[place][20*16+3] = float32(math.NaN())
		x.compute(nil)
		if v := x.out[20*16+3]; v == v {
			t.Errorf("NaN in %s: out is %v", place, v)
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	x := newRun(t, Shape{2, 70, 2, 1, 16, 0, 0.25, nil})
	x.compute(pool)
	if n := testing.AllocsPerRun(10, func() { x.compute(pool) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestShapeCheck(t *testing.T) {
	good := Shape{2, 5, 4, 2, 8, 0, 0.3, nil}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(s *Shape){
		"batch":   func(s *Shape) { s.Batch = -1 },
		"heads":   func(s *Shape) { s.Heads = 3 },
		"kv":      func(s *Shape) { s.KVHeads = 0 },
		"dim":     func(s *Shape) { s.HeadDim = 0 },
		"window":  func(s *Shape) { s.Window = -2 },
		"scale":   func(s *Shape) { s.Scale = 0 },
		"nan":     func(s *Shape) { s.Scale = float32(math.NaN()) },
		"inf":     func(s *Shape) { s.Scale = float32(math.Inf(1)) },
		"no time": func(s *Shape) { s.Time = -1 },
	} {
		s := good
		spoil(&s)
		if err := s.Check(); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a short operand passes")
		}
	}()
	x := newRun(t, good)
	Forward(x.out, x.lse[1:], x.q, x.k, x.v, good, nil)
}

// Nothing is computed of an empty batch or sequence, and nothing is written behind the empty operands.
func TestEmpty(t *testing.T) {
	for _, s := range []Shape{{0, 5, 4, 2, 8, 0, 0.3, nil}, {3, 0, 4, 2, 8, 0, 0.3, nil}} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
		full := newRun(t, Shape{1, 5, 4, 2, 8, 0, 0.3, nil})
		empty, before := *full, newRun(t, full.Shape).results()
		empty.Shape = s
		for _, p := range empty.operands() {
			*p = (*p)[:0]
		}
		empty.compute(nil)
		for name, got := range full.results() {
			if err := kerneltest.Bits(got, before[name]); err != nil {
				t.Errorf("%+v wrote %s: %v", s, name, err)
			}
		}
	}
}
