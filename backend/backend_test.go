package backend

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"gorgonia.org/tensor"
)

// opened is a backend of which only the opening matters.
type opened struct{ Backend }

func TestOpen(t *testing.T) {
	saved := registry.openers
	t.Cleanup(func() { registry.openers = saved })
	registry.openers = map[string]Opener{}
	Register("cpu", func(o Options) (Backend, error) { return &opened{}, nil })

	if _, _, err := Open("tpu", Options{}); err == nil || !strings.Contains(err.Error(), "known: auto, cpu") {
		t.Errorf("an unknown backend: %v, want an error that lists the known ones", err)
	}
	b, skipped, err := Open("auto", Options{})
	if b == nil || err != nil || len(skipped) != 1 {
		t.Fatalf("auto without cuda: %v, skipped %v, %v; want the CPU and one reason", b, skipped, err)
	}

	Register("cuda", func(Options) (Backend, error) { return nil, fmt.Errorf("no driver: %w", ErrUnavailable) })
	b, skipped, err = Open("auto", Options{})
	if b == nil || err != nil || len(skipped) != 1 || !errors.Is(skipped[0], ErrUnavailable) {
		t.Errorf("auto with a cuda that cannot be: %v, skipped %v, %v; want the CPU and why", b, skipped, err)
	}
	if _, _, err = Open("cuda", Options{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("cuda by name: %v, want ErrUnavailable and no other backend", err)
	}

	Register("cpu", func(Options) (Backend, error) { return nil, ErrNotBuilt })
	if _, _, err = Open("auto", Options{}); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("no backend at all: %v, want the last reason", err)
	}
}

func TestPrecision(t *testing.T) {
	for _, p := range []Precision{Float32, BFloat16, CublasLt} {
		if got, err := ParsePrecision(p.String()); got != p || err != nil {
			t.Errorf("%v came back as %v, %v", p, got, err)
		}
	}
	if _, err := ParsePrecision("fp8"); err == nil {
		t.Error("fp8 is no precision here")
	}
}

func TestTensorBytes(t *testing.T) {
	for _, c := range []struct {
		dt    tensor.Dtype
		shape []int
		want  int64 // 0 for an error
	}{
		{F32, []int{3, 5}, 60}, {I8, []int{7}, 7}, {I32, nil, 4},
		{F32, []int{0}, 0}, {F32, []int{4, -4}, 0},
		{I8, []int{math.MaxInt, 2}, 0}, {F32, []int{math.MaxInt / 2}, 0}, {I8, []int{math.MaxInt / 2, 2, 2}, 0},
		{tensor.Float64, []int{1}, 0},
	} {
		if got, err := TensorBytes(c.dt, c.shape...); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%v %v: %d, %v; want %d", c.dt, c.shape, got, err, c.want)
		}
	}
	for n, want := range map[int64]int64{0: 0, 1: 256, 256: 256, 257: 512} {
		if got := Align(n); got != want {
			t.Errorf("Align(%d) = %d, want %d", n, got, want)
		}
	}
}

// hostMemory gives slabs that only count.
type hostMemory struct {
	Memory
	slabs, freed int
	fail         int // the tensor that cannot be made, counted down; -1 for none
}

type hostSlab struct {
	m *hostMemory
	Sizer
	size int64
}

func (m *hostMemory) NewSlab(bytes int64) (Slab, error) {
	m.slabs++
	return &hostSlab{m: m, size: bytes}, nil
}

func (s *hostSlab) New(dt tensor.Dtype, shape ...int) (*tensor.Dense, error) {
	if s.m.fail == 0 {
		return nil, ErrOutOfMemory
	}
	s.m.fail--
	if _, err := s.Sizer.New(dt, shape...); err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(shape...), tensor.Of(dt)), nil
}

func (s *hostSlab) Bytes() int64 { return s.size }
func (s *hostSlab) Used() int64  { return s.Sizer.Bytes() }
func (s *hostSlab) Free() error  { s.m.freed++; return nil }

// Tensors that are reserved together fill one slab exactly; when one of them cannot be, nothing is kept.
func TestReserve(t *testing.T) {
	var a, b *tensor.Dense
	wants := []Want{{To: &a, DType: F32, Shape: []int{3, 5}}, {To: &b, DType: I8, Shape: []int{300}}}
	m := &hostMemory{fail: -1}
	slab, err := Reserve(m, wants...)
	if err != nil || slab.Bytes() != slab.Used() || slab.Bytes() != 256+512 || m.slabs != 1 {
		t.Fatalf("%+v, %v: want one full slab of 768 bytes", slab, err)
	}
	if !a.Shape().Eq(tensor.Shape{3, 5}) || b.Dtype() != I8 {
		t.Errorf("made %v and %v", a, b)
	}
	m = &hostMemory{fail: 1}
	if _, err := Reserve(m, wants...); !errors.Is(err, ErrOutOfMemory) || m.freed != 1 {
		t.Errorf("%v with %d slabs freed, want ErrOutOfMemory and one", err, m.freed)
	}
	var shape *ShapeError
	m = &hostMemory{fail: -1}
	if _, err := Reserve(m, Want{To: &a, DType: F32, Shape: []int{0}}); !errors.As(err, &shape) || m.slabs != 0 {
		t.Errorf("%v with %d slabs, want a *ShapeError and none", err, m.slabs)
	}
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		shape   []int
		n, cols int
	}{{[]int{2, 3, 5}, 6, 5}, {[]int{7}, 1, 7}, {[]int{1, 1}, 1, 1}} {
		if n, cols := Rows(tensor.New(tensor.WithShape(c.shape...), tensor.Of(F32))); n != c.n || cols != c.cols {
			t.Errorf("%v is %d rows of %d, want %d of %d", c.shape, n, cols, c.n, c.cols)
		}
	}
}

// The mask drops the share it is asked to drop, in every row and column, and rows and seeds do not repeat.
func TestDropoutHash(t *testing.T) {
	const rows, cols, rate = 400, 300, 0.3
	limit := uint32(math.Round(rate * (1 << 32)))
	dropped := func(seed uint64, r int64, c int) bool { return DropoutHash(seed, r, c) < limit }
	// Binomial, five standard deviations: a false alarm in 700 counts is one in 2500.
	check := func(what string, count, n int) {
		if sd := math.Sqrt(float64(n) * rate * (1 - rate)); math.Abs(float64(count)-rate*float64(n)) > 5*sd {
			t.Errorf("%s: %d of %d dropped, want %v of them", what, count, n, rate)
		}
	}
	perCol := make([]int, cols)
	all, both, bothSeeds := 0, 0, 0
	for r := range int64(rows) {
		count := 0
		for c := range cols {
			if !dropped(99, r, c) {
				continue
			}
			count++
			perCol[c]++
			if dropped(99, r+1, c) {
				both++
			}
			if dropped(100, r, c) {
				bothSeeds++
			}
		}
		check(fmt.Sprint("row ", r), count, cols)
		all += count
	}
	for c, count := range perCol {
		check(fmt.Sprint("column ", c), count, rows)
	}
	check("all", all, rows*cols)
	check("those whose lower neighbour is dropped", both, all)
	check("those dropped under the next seed", bothSeeds, all)
}

// Errors say operation, argument, what was found and what is wanted.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []string
	}{
		{&ShapeError{Op: "MatMul", Arg: "b", Got: []int{2, 3}, Want: []int{3, 4}}, []string{"MatMul", "b", "[2 3]", "[3 4]"}},
		{&ShapeError{Op: "New", Arg: "shape", Got: []int{-1}}, []string{"New", "impossible", "[-1]"}},
		{&DTypeError{Op: "Add", Arg: "x", Got: I8, Want: F32}, []string{"Add", "x", "int8", "float32"}},
		{&OwnerError{Op: "Add", Arg: "x"}, []string{"Add", "x", "another backend"}},
		{&ArgError{Op: "Dropout", Arg: "rate", Got: 2, Want: "in [0,1)"}, []string{"Dropout", "rate", "2", "[0,1)"}},
		{&DeviceError{Op: "Add", Err: ErrOutOfMemory}, []string{"Add", "out of memory"}},
	} {
		for _, part := range c.want {
			if !strings.Contains(c.err.Error(), part) {
				t.Errorf("%q does not say %q", c.err, part)
			}
		}
	}
	if !errors.Is(&DeviceError{Op: "Add", Err: ErrOutOfMemory}, ErrOutOfMemory) {
		t.Error("DeviceError does not unwrap")
	}
}

// A seed comes back from a step tensor whole, and its slots are whole numbers.
func TestSeed(t *testing.T) {
	step := make([]float32, StepLen)
	for _, seed := range []uint64{0, 1, 1<<22 - 1, 1 << 22, 1 << 43, 1 << 44, 1 << 63, math.MaxUint64, 0xfedcba9876543210, 0x7fc000007f800001} {
		PutSeed(step, seed)
		if got := Seed(step); got != seed {
			t.Errorf("%#x came back as %#x", seed, got)
		}
	}
	for i, v := range step[:StepSeed] {
		if v != 0 {
			t.Errorf("PutSeed wrote slot %d", i)
		}
	}
}

// Callers tell errors apart by one set of sentinels, whichever backend and operation they come from.
func TestSentinels(t *testing.T) {
	for _, c := range []struct {
		err     error
		is, not []error
	}{
		{&ShapeError{}, []error{ErrArgument}, []error{ErrUnsupported}},
		{&DTypeError{Got: F32, Want: I8}, []error{ErrArgument}, nil},
		{&OwnerError{}, []error{ErrArgument}, nil},
		{&ArgError{}, []error{ErrArgument}, []error{ErrOutOfMemory}},
		{ErrUnsupported, []error{errors.ErrUnsupported}, []error{ErrArgument, ErrUnavailable}},
		{ErrNotBuilt, []error{ErrUnavailable}, []error{ErrUnsupported}},
		{ErrUnavailable, nil, []error{ErrNotBuilt}},
		{&DeviceError{Err: ErrOutOfMemory}, []error{ErrOutOfMemory}, []error{ErrArgument}},
	} {
		err := fmt.Errorf("step 3: %w", c.err)
		for _, s := range c.is {
			if !errors.Is(err, s) {
				t.Errorf("%v is no %v", err, s)
			}
		}
		for _, s := range c.not {
			if errors.Is(err, s) {
				t.Errorf("%v is %v", err, s)
			}
		}
	}
}
