package backendtest

import (
	"flag"
	"math"
	"slices"
	"testing"
	"time"

	"mito/kernels/kerneltest"
)

// lazy is a device that works when it is waited for.
type lazy struct{ queued int }

func (l *lazy) call() error { l.queued++; return nil }

func (l *lazy) Synchronize() error {
	time.Sleep(time.Duration(l.queued) * time.Millisecond)
	l.queued = 0
	return nil
}

// The time of a call has the work of the device in it.
func TestTimedWaits(t *testing.T) {
	old := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", old)
	if err := flag.Set("test.benchtime", "4x"); err != nil {
		t.Fatal(err)
	}
	r := testing.Benchmark(func(b *testing.B) {
		l := &lazy{}
		timed(b, l, l.call)
	})
	if per := r.T / time.Duration(r.N); per < time.Millisecond {
		t.Errorf("%v a call, its work takes 1ms", per)
	}
}

// The operations are those of the seam.
func TestOps(t *testing.T) {
	ops := Ops()
	for _, op := range []string{"MatMul", "Mul", "AttentionBackward", "Lerp", "QSparseLinear"} {
		if !slices.Contains(ops, op) {
			t.Errorf("%s is missing", op)
		}
	}
	for _, no := range []string{"Alloc", "NewSlab", "Upload", "View", "Info", "Close", "Synchronize"} {
		if slices.Contains(ops, no) {
			t.Errorf("%s is none", no)
		}
	}
}

// A tolerance is c roundings of the size, and the factors' on top where they are rounded; an error beyond it and a
// tolerance beyond ten times the error are seen.
func TestTolerance(t *testing.T) {
	want := []float64{3, -4, 0}
	for _, c := range []struct {
		name string
		tol  tolerance
		o    Options
		want [3]float64 // in eps
	}{
		{"relative", tolerance{c: 2, size: even(0)}, Options{}, [3]float64{6, 8, 0}},
		{"root mean square", tolerance{c: 1}, Options{}, [3]float64{3, 4, 5 / math.Sqrt(3)}},
		{"sizes", tolerance{c: 1, size: at([]float64{1, 10, 2})}, Options{}, [3]float64{3, 10, 2}},
		{"exact factors", tolerance{c: 1, size: even(0), f: 7}, Options{}, [3]float64{3, 4, 0}},
		{"factors", tolerance{c: 1, size: even(1), f: 2}, Options{FactorEps: 16 * kerneltest.Eps}, [3]float64{3 + 96, 4 + 128, 1 + 32}},
		{"factors' sizes", tolerance{c: 1, size: even(1), f: 2, factors: even(5)}, Options{FactorEps: kerneltest.Eps}, [3]float64{13, 14, 11}},
	} {
		limit := c.tol.limit(c.o, want)
		for i, w := range c.want {
			if got := limit(i) / kerneltest.Eps; math.Abs(got-w) > 1e-9 {
				t.Errorf("%s: element %d may be off by %v eps, want %v", c.name, i, got, w)
			}
		}
	}

	limit := stored(func(int) float64 { return 1 }, want)
	for i, w := range []float64{1 + 4./256, 1 + 5./256, 1 + 1./256} {
		if got := limit(i); got != w {
			t.Errorf("stored in bfloat16: element %d may be off by %v, want %v", i, got, w)
		}
	}

	x := out{name: "y", want: []float64{1, 1}, tol: tolerance{c: 4}}
	for _, c := range []struct {
		roundings float32
		passes    bool // comparison
		tight     bool // the tolerance
	}{{2, true, true}, {6, false, true}, {0, true, false}} {
		m := &meter{worst: map[string]float64{}}
		err := x.compare([]float32{1, 1 + c.roundings*kerneltest.Eps}, "Op", Options{}, m)
		if (err == nil) != c.passes {
			t.Errorf("off by %v eps of 4: %v", c.roundings, err)
		}
		if loose := m.loose(); (len(loose) == 0) != c.tight {
			t.Errorf("off by %v eps of 4: loose %v", c.roundings, loose)
		}
	}
	if m := (&meter{worst: map[string]float64{"Op/y": 0.99 / slack, "Op/z": 1.01 / slack}}); !slices.Equal(m.loose(), []string{"Op/y"}) {
		t.Errorf("loose: %v", m.loose())
	}
}
