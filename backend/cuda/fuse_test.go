//go:build cuda && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/backendtest/bf16"
	"mito/backend/cuda"
)

// A product and the call after it give the same bits fused as one by one; where they can be fused there is one launch
// less.
func TestFusedEpilogues(t *testing.T) {
	for _, p := range []backend.Precision{backend.Float32, backend.BFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			b := open(t, p)
			for _, s := range [][3]int{{7, 13, 21}, {70, 36, 40}, {20, 24, 1500}, {130, 132, 64}} {
				testEpilogues(t, b, backend.F32, s[0], s[1], s[2])
				if p == backend.BFloat16 {
					testEpilogues(t, b, backend.BF16, s[0], s[1], s[2])
				}
			}
		})
	}
}

// fusion is a call after a product whose result is c. other holds what else the call reads, dst is free.
type fusion struct {
	name  string
	fused bool
	call  func(b backend.Backend, dst, c, other *tensor.Dense) error
}

var fusions = []fusion{
	{"add", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Add(dst, other, c) }},
	{"add, other way round", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Add(dst, c, other) }},
	{"add to the other", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Add(other, other, c) }},
	{"add in place", false, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Add(c, other, c) }},
	{"add to itself", false, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Add(dst, c, c) }},
	{"relu", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Activate(dst, c, backend.ReLU) }},
	{"relu2", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Activate(dst, c, backend.ReLU2) }},
	{"relu in place", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Activate(c, c, backend.ReLU) }},
	{"relu2 in place", true, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Activate(c, c, backend.ReLU2) }},
	{"gelu", false, func(b backend.Backend, dst, c, other *tensor.Dense) error { return b.Activate(dst, c, backend.GELU) }},
	{"relu backward", true, func(b backend.Backend, dst, c, other *tensor.Dense) error {
		return b.ActivateBackward(c, c, other, backend.ReLU)
	}},
	{"relu2 backward", true, func(b backend.Backend, dst, c, other *tensor.Dense) error {
		return b.ActivateBackward(c, c, other, backend.ReLU2)
	}},
	{"relu2 backward from its result", true, func(b backend.Backend, dst, c, other *tensor.Dense) error {
		return b.ActivateBackward(c, c, other, backend.ReLU2Output)
	}},
	{"relu2 backward elsewhere", false, func(b backend.Backend, dst, c, other *tensor.Dense) error {
		return b.ActivateBackward(dst, c, other, backend.ReLU2)
	}},
	{"another tensor", false, func(b backend.Backend, dst, c, other *tensor.Dense) error {
		return b.Activate(dst, other, backend.ReLU2)
	}},
}

func testEpilogues(t *testing.T, b *cuda.Backend, act tensor.Dtype, m, n, k int) {
	slab, err := b.NewSlab(4 << 20)
	must(t, err)
	defer func() { must(t, slab.Free()) }()
	rng := rand.New(rand.NewPCG(uint64(m), uint64(n)))
	drawOf := func(dt tensor.Dtype, shape ...int) (*tensor.Dense, []float32) {
		x, err := slab.New(dt, shape...)
		must(t, err)
		v := make([]float32, tensor.Shape(shape).TotalSize())
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return x, v
	}
	draw := func(shape ...int) (*tensor.Dense, []float32) { return drawOf(act, shape...) }
	a, av := draw(m, k)
	w, wv := draw(n, k)
	bias, biasv := drawOf(backend.F32, n)
	must(t, put(b, a, av))
	must(t, put(b, w, wv))
	must(t, b.Upload(bias, biasv))
	dst, dstv := draw(m, n)
	c, cv := draw(m, n)
	other, otherv := draw(m, n)

	for _, args := range []backend.MatMulArgs{{TransB: true, Bias: bias}, {TransB: true, Accumulate: true, Alpha: -0.3}} {
		for _, f := range fusions {
			if act == backend.BF16 && strings.HasPrefix(f.name, "add") {
				continue // sums are of float32
			}
			run := func(apart bool) (out [3][]float32, launches int64) {
				must(t, put(b, dst, dstv))
				must(t, put(b, c, cv))
				must(t, put(b, other, otherv))
				must(t, b.Synchronize())
				before := b.Stats().Launches
				must(t, b.MatMul(c, a, w, args))
				if apart {
					must(t, b.Synchronize())
				}
				must(t, f.call(b, dst, c, other))
				for i, x := range []*tensor.Dense{dst, c, other} {
					out[i] = append(out[i], cv...)
					must(t, get(b, out[i], x))
				}
				return out, b.Stats().Launches - before
			}
			name := fmt.Sprintf("%v, %d×%d×%d, accumulate %v, %s", act, m, n, k, args.Accumulate, f.name)
			want, most := run(true)
			got, launches := run(false)
			if fused := launches < most; fused != f.fused {
				t.Errorf("%s: %d launches, %d one by one", name, launches, most)
			}
			for i, x := range []string{"dst", "c", "other"} {
				for j := range want[i] {
					if math.Float32bits(got[i][j]) != math.Float32bits(want[i][j]) {
						t.Fatalf("%s: %s[%d] is %v, one by one %v", name, x, j, got[i][j], want[i][j])
					}
				}
			}
		}
	}
}

// put and get move float32 to and from a tensor, rounded where that is of bfloat16.
func put(b backend.Backend, x *tensor.Dense, v []float32) error {
	if x.Dtype() == backend.BF16 {
		return b.Upload(x, bf16.Round(v))
	}
	return b.Upload(x, v)
}

func get(b backend.Backend, v []float32, x *tensor.Dense) error {
	if x.Dtype() != backend.BF16 {
		return b.Download(v, x)
	}
	h := make([]uint16, len(v))
	err := b.Download(h, x)
	copy(v, bf16.Widen(h))
	return err
}

// A product that is held back is sent by whatever comes next, and goes into the recording that it was called in.
func TestHeldProduct(t *testing.T) {
	b := open(t, backend.Float32)
	slab, err := b.NewSlab(4 << 10)
	must(t, err)
	x, err := slab.New(backend.F32, 1, 1)
	must(t, err)
	y, err := slab.New(backend.F32, 1, 1)
	must(t, err)
	read := func() float32 {
		v := make([]float32, 1)
		must(t, b.Download(v, y))
		return v[0]
	}
	must(t, b.Upload(x, []float32{3}))
	product := func() error { return b.MatMul(y, x, x, backend.MatMulArgs{Accumulate: true}) }
	must(t, product())
	if got := read(); got != 9 {
		t.Errorf("after a product: %v, want 9", got)
	}
	must(t, product())
	g, err := b.Capture(product)
	must(t, err)
	if got := read(); got != 18 {
		t.Errorf("before a replay: %v, want 18", got)
	}
	must(t, product())
	must(t, g.Replay())
	must(t, product())
	must(t, b.Copy(x, y)) // 45
	must(t, b.Zero(y))
	must(t, product())
	if got := read(); got != 45*45 {
		t.Errorf("in the order of the calls: %v, want %v", got, 45*45)
	}
	must(t, product())
	must(t, g.Close())
	must(t, slab.Free())
}
