package backendtest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
)

// testMemory checks slabs, views and transfers.
func testMemory(t *testing.T, b backend.Backend) {
	t.Run("slab", func(t *testing.T) { testSlab(t, b) })
	t.Run("view", func(t *testing.T) { testView(t, b) })
	t.Run("transfer", func(t *testing.T) { testTransfer(t, b) })
	t.Run("too much", func(t *testing.T) {
		for _, bytes := range []int64{1 << 60, math.MaxInt64, -1} {
			if s, err := b.NewSlab(bytes); !errors.Is(err, backend.ErrOutOfMemory) {
				t.Errorf("NewSlab(%d) = %v, %v; want ErrOutOfMemory", bytes, s, err)
			}
		}
	})
	t.Run("info", func(t *testing.T) {
		if i := b.Info(); i.Name == "" || i.Device == "" || len(i.Kernels) == 0 {
			t.Errorf("incomplete: %+v", i)
		}
	})
}

func testSlab(t *testing.T, b backend.Backend) {
	// Building with a Sizer and then from one slab of its size is how models are made.
	build := func(a backend.Allocator) (ts []*tensor.Dense) {
		for _, n := range []int{1, 7, 64, 65, 1000} {
			for _, dt := range []tensor.Dtype{backend.F32, backend.I32, backend.I8} {
				x, err := a.New(dt, n, 3)
				if err != nil {
					t.Fatal(err)
				}
				ts = append(ts, x)
			}
		}
		return ts
	}
	var size backend.Sizer
	build(&size)
	s, err := b.NewSlab(size.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range build(s) {
		if x.Engine() != tensor.Engine(b) {
			t.Errorf("tensor %d is not the backend's", i)
		}
		if x.Uintptr()%backend.Alignment != 0 {
			t.Errorf("tensor %d at %#x: want a multiple of %d", i, x.Uintptr(), backend.Alignment)
		}
		for _, v := range bits(newEnv(t, b, "slab").read(x)) {
			if v != 0 {
				t.Fatalf("tensor %d is not zeroed", i)
			}
		}
	}
	if s.Used() != size.Bytes() || s.Bytes() < size.Bytes() {
		t.Errorf("used %d of %d bytes, want %d", s.Used(), s.Bytes(), size.Bytes())
	}
	if _, err := s.New(backend.F32, 1); !errors.Is(err, backend.ErrOutOfMemory) {
		t.Errorf("a full slab gave %v, want ErrOutOfMemory", err)
	}
	for _, shape := range [][]int{{0}, {3, -1}, {math.MaxInt, 2}} {
		var se *backend.ShapeError
		if _, err := s.New(backend.F32, shape...); !errors.As(err, &se) {
			t.Errorf("New of shape %v: %v, want a *ShapeError", shape, err)
		}
	}
	var de *backend.DTypeError
	for _, a := range []backend.Allocator{s, &size} {
		if _, err := a.New(tensor.Float64, 1); !errors.As(err, &de) {
			t.Errorf("New of float64: %v, want a *DTypeError", err)
		}
	}
	if err := s.Free(); err != nil {
		t.Fatal(err)
	}
}

func testView(t *testing.T, b backend.Backend) {
	e := newEnv(t, b, "view")
	x := e.f32([]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 3, 4)
	v := e.view(x, 5, 2, 3)
	if got := e.read(v).([]float32); !slices.Equal(got, []float32{5, 6, 7, 8, 9, 10}) {
		t.Errorf("view holds %v", got)
	}
	if err := b.Zero(v); err != nil {
		t.Fatal(err)
	}
	if got := e.read(x).([]float32); !slices.Equal(got, []float32{0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 11}) {
		t.Errorf("after clearing a view: %v", got)
	}
	i := e.i8([]int8{1, 2, 3, 4, 5, 6})
	if got := e.read(e.view(i, 3, 2)).([]int8); !slices.Equal(got, []int8{4, 5}) {
		t.Errorf("view of int8 holds %v", got)
	}
	for _, bad := range []struct {
		offset int
		shape  []int
	}{
		{-1, []int{2}}, {11, []int{2}}, {13, []int{1}}, {0, []int{0}}, {0, []int{-2, -2}}, {0, []int{math.MaxInt, math.MaxInt}},
		{math.MaxInt, []int{2}},
	} {
		if v, err := b.View(x, bad.offset, bad.shape...); !typed(err) {
			t.Errorf("View(%d, %v) = %v, %v; want a typed error", bad.offset, bad.shape, v, err)
		}
	}
	if _, err := b.View(nil, 0, 1); !isOwner(err) {
		t.Errorf("view of nil: %v, want an *OwnerError", err)
	}
}

func testTransfer(t *testing.T, b backend.Backend) {
	e := newEnv(t, b, "transfer")
	for _, c := range []struct {
		t    *tensor.Dense
		host any
	}{
		{e.make(backend.F32, 2, 2), []float32{1, -2, float32(math.Inf(1)), 0x1p-149}},
		{e.make(backend.I32, 3), []int32{math.MinInt32, 0, math.MaxInt32}},
		{e.make(backend.I8, 5), []int8{-128, -1, 0, 1, 127}},
	} {
		e.upload(c.t, c.host)
		if got := bits(e.read(c.t)); !slices.Equal(got, bits(c.host)) {
			t.Errorf("%v came back as %v", c.host, got)
		}
		dst := e.make(c.t.Dtype(), c.t.Shape()...)
		if err := b.Copy(dst, c.t); err != nil {
			t.Error(err)
		}
		if got := bits(e.read(dst)); !slices.Equal(got, bits(c.host)) {
			t.Errorf("copy of %v is %v", c.host, got)
		}
	}
	testHalfTransfer(t, b)
	// The slice is free when Upload returns.
	host := []float32{1, 2, 3}
	x := e.f32(host)
	host[0] = 9
	if got := e.read(x).([]float32); got[0] != 1 {
		t.Error("Upload keeps the slice")
	}

	foreign := tensor.New(tensor.WithShape(3), tensor.Of(tensor.Float32))
	f := e.make(backend.F32, 3)
	for name, err := range map[string]error{
		"upload of another length":  b.Upload(f, []float32{1}),
		"upload of another type":    b.Upload(f, []int32{1, 2, 3}),
		"upload of an unknown type": b.Upload(f, []float64{1, 2, 3}),
		"upload of nothing":         b.Upload(f, nil),
		"download to a short slice": b.Download(make([]float32, 2), f),
		"download to another type":  b.Download(make([]int8, 3), f),
		"copy to another dtype":     b.Copy(e.make(backend.I32, 3), f),
		"copy to another size":      b.Copy(e.make(backend.F32, 4), f),
	} {
		if !typed(err) || isOwner(err) {
			t.Errorf("%s: %v, want a *ShapeError, *DTypeError or *ArgError", name, err)
		}
	}
	for name, err := range map[string]error{
		"upload to a foreign tensor": b.Upload(foreign, []float32{1, 2, 3}),
		"upload to nil":              b.Upload(nil, []float32{1}),
		"download of nil":            b.Download([]float32{1}, nil),
		"copy from a foreign tensor": b.Copy(f, foreign),
		"copy to a foreign tensor":   b.Copy(foreign, f),
		"copy from nil":              b.Copy(f, nil),
		"zero of a foreign tensor":   b.Zero(foreign),
		"zero of nil":                b.Zero(nil),
	} {
		if !isOwner(err) {
			t.Errorf("%s: %v, want an *OwnerError", name, err)
		}
	}
}

// testHalfTransfer moves every bfloat16 to the backend and back, where it has them; else there are no such tensors.
func testHalfTransfer(t *testing.T, b backend.Backend) {
	e := newEnv(t, b, "half")
	if backend.ActivationType(b) != backend.BF16 {
		s, err := b.NewSlab(512)
		if err != nil {
			t.Fatal(err)
		}
		var de *backend.DTypeError
		if _, err := s.New(backend.BF16, 2); !errors.As(err, &de) {
			t.Errorf("New of bfloat16: %v, want a *DTypeError", err)
		}
		if err := s.Free(); err != nil {
			t.Error(err)
		}
		return
	}
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	x, y := e.upload(e.make(backend.BF16, len(all)), all), e.make(backend.BF16, len(all))
	if err := b.Copy(y, x); err != nil {
		t.Fatal(err)
	}
	got := make([]uint16, len(all)-3)
	if err := b.Download(got, e.view(y, 3, len(got))); err != nil || !slices.Equal(got, all[3:]) {
		t.Errorf("bfloat16 came back otherwise: %v", err)
	}
}
