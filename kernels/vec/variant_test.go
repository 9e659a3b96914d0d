package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/isa"
	"mito/kernels/kerneltest"
)

// operands are the slices a kernel may work on, all of one length.
type operands struct {
	f   [6][]float32
	q   []int8
	acc []int32
}

func newOperands(t testing.TB, n int, side kerneltest.Side, skip int) *operands {
	var o operands
	for i := range o.f {
		o.f[i] = kerneltest.GuardedAt[float32](t, n, side, skip)
	}
	o.q = kerneltest.GuardedAt[int8](t, n, side, skip)
	o.acc = kerneltest.GuardedAt[int32](t, n, side, skip)
	return &o
}

func (o *operands) copyFrom(p *operands) {
	for i := range o.f {
		copy(o.f[i], p.f[i])
	}
	copy(o.q, p.q)
	copy(o.acc, p.acc)
}

func (o *operands) differs(p *operands) error {
	for i := range o.f {
		if err := kerneltest.Bits(o.f[i], p.f[i]); err != nil {
			return fmt.Errorf("slice %d: %w", i, err)
		}
	}
	return kerneltest.Equal(o.q, p.q)
}

// contents are kinds of numbers that kernels must agree on.
var contents = []struct {
	name string
	next func(r *rand.Rand) float32
}{
	{"normal", func(r *rand.Rand) float32 { return float32(r.NormFloat64() * 3) }},
	{"probabilities", func(r *rand.Rand) float32 { return r.Float32() * r.Float32() }},
	{"large", func(r *rand.Rand) float32 { return float32(r.NormFloat64() * 60) }},
	{"any finite", func(r *rand.Rand) float32 {
		for {
			if x := math.Float32frombits(r.Uint32()); math.Abs(float64(x)) <= math.MaxFloat32 {
				return x
			}
		}
	}},
	{"special", func(r *rand.Rand) float32 {
		special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
			1e-45, -1e-40, 0x1p-126, math.MaxFloat32, -math.MaxFloat32, -87, 88, 1, -1, 0.5, 127}
		if r.IntN(3) > 0 {
			return float32(r.NormFloat64())
		}
		return special[r.IntN(len(special))]
	}},
	{"denormal", func(r *rand.Rand) float32 { return math.Float32frombits(r.Uint32() & 0x807fffff) }},
	{"zero", func(r *rand.Rand) float32 { return 0 }},
}

func (o *operands) fill(r *rand.Rand, next func(r *rand.Rand) float32) {
	for i := range o.f {
		for j := range o.f[i] {
			o.f[i][j] = next(r)
		}
	}
	for j := range o.q {
		o.q[j] = int8(r.IntN(255) - 127)
		o.acc[j] = int32(r.Uint32()) >> r.IntN(24)
	}
}

// kernels is every exported function, each writing only to o and returning its scalar results.
var kernels = []struct {
	name string
	run  func(o *operands) (a, b float32)
}{
	{"Exp", func(o *operands) (a, b float32) { Exp(o.f[0], o.f[1]); return }},
	{"Exp in place", func(o *operands) (a, b float32) { Exp(o.f[0], o.f[0]); return }},
	{"Sum", func(o *operands) (a, b float32) { return Sum(o.f[0]), 0 }},
	{"Dot", func(o *operands) (a, b float32) { return Dot(o.f[0], o.f[1]), SumSquares(o.f[2]) }},
	{"SumSquares64", func(o *operands) (a, b float32) {
		s := SumSquares64(o.f[0])
		high := float32(s)
		return high, float32(s - float64(high))
	}},
	{"AbsMax", func(o *operands) (a, b float32) { return AbsMax(o.f[0]), Max(o.f[0]) }},
	{"Add", func(o *operands) (a, b float32) { Add(o.f[0], o.f[1], o.f[2]); return }},
	{"Add in place", func(o *operands) (a, b float32) { Add(o.f[0], o.f[0], o.f[2]); return }},
	{"Mul", func(o *operands) (a, b float32) { Mul(o.f[0], o.f[1], o.f[2]); return }},
	{"Scale", func(o *operands) (a, b float32) { Scale(o.f[0], o.f[1], 0.3); return }},
	{"Axpy", func(o *operands) (a, b float32) { Axpy(o.f[0], 0.3, o.f[1]); return }},
	{"Lerp", func(o *operands) (a, b float32) { Lerp(o.f[0], o.f[1], 0.3); return }},
	{"QuantizeRow", func(o *operands) (a, b float32) { return QuantizeRow(o.q, o.f[0]), 0 }},
	{"DequantizeRow", func(o *operands) (a, b float32) { DequantizeRow(o.f[0], o.q, 0.3); return }},
	{"ScaleInt32", func(o *operands) (a, b float32) { ScaleInt32(o.f[0], o.acc, 0.3, o.f[1]); return }},
	{"AddScaleInt32", func(o *operands) (a, b float32) { AddScaleInt32(o.f[0], o.acc, 0.3, o.f[1]); return }},
	{"Softmax", func(o *operands) (a, b float32) { Softmax(o.f[0], o.f[1]); return LogSumExp(o.f[1]), 0 }},
	{"Softmax in place", func(o *operands) (a, b float32) { SoftmaxScaled(o.f[0], o.f[0], 0.3); return }},
	{"RMSNorm", func(o *operands) (a, b float32) { return RMSNorm(o.f[0], o.f[1], o.f[2], 1e-5), 0 }},
	{"RMSNorm plain", func(o *operands) (a, b float32) { return RMSNorm(o.f[0], o.f[0], nil, 1e-5), 0 }},
	{"LayerNorm", func(o *operands) (a, b float32) { return LayerNorm(o.f[0], o.f[1], o.f[2], o.f[3], 1e-5) }},
	{"RMSNormBackward", func(o *operands) (a, b float32) {
		RMSNormBackward(o.f[0], o.f[1], o.f[2], o.f[3], o.f[4], 0.7)
		return
	}},
	{"RMSNormBackward plain", func(o *operands) (a, b float32) {
		RMSNormBackward(o.f[0], nil, o.f[0], o.f[3], nil, 0.7)
		return
	}},
	{"LayerNormBackward", func(o *operands) (a, b float32) {
		LayerNormBackward(o.f[0], o.f[1], o.f[2], o.f[3], o.f[4], o.f[5], 0.2, 0.7)
		return
	}},
	{"RoPE", func(o *operands) (a, b float32) {
		n := len(o.f[0]) / 2
		RoPE(o.f[0][:2*n], o.f[1][:n], o.f[2][:n], false)
		RoPE(o.f[3][:2*n], o.f[1][:n], o.f[2][:n], true)
		return
	}},
	{"ReLU", func(o *operands) (a, b float32) { ReLU(o.f[0], o.f[1]); ReLUBackward(o.f[2], o.f[3], o.f[4]); return }},
	{"ReLU2", func(o *operands) (a, b float32) { ReLU2(o.f[0], o.f[1]); ReLU2Backward(o.f[2], o.f[3], o.f[4]); return }},
	{"SiLU", func(o *operands) (a, b float32) { SiLU(o.f[0], o.f[1]); SiLUBackward(o.f[2], o.f[3], o.f[4]); return }},
	{"GELU", func(o *operands) (a, b float32) { GELU(o.f[0], o.f[1]); GELUBackward(o.f[2], o.f[3], o.f[4]); return }},
	{"SwiGLU", func(o *operands) (a, b float32) { SwiGLU(o.f[0], o.f[1], o.f[2]); return }},
	{"SwiGLUBackward", func(o *operands) (a, b float32) {
		SwiGLUBackward(o.f[0], o.f[1], o.f[2], o.f[3], o.f[4])
		return
	}},
	{"CrossEntropyRow", func(o *operands) (a, b float32) {
		if n := len(o.f[0]); n > 0 {
			a = CrossEntropyRow(o.f[0], o.f[1], n/2, 0.1, 0.3, false)
			b = CrossEntropyRow(o.f[2], o.f[3], n-1, 0, 0.3, true)
		}
		return
	}},
	{"KLRow", func(o *operands) (a, b float32) {
		return KLRow(o.f[0], o.f[1], o.f[2], 2, 0.3), KLRow(nil, o.f[1], o.f[2], 1, 0.3)
	}},
	{"KLTopKRow", func(o *operands) (a, b float32) {
		n := len(o.f[0])
		if n > 0 {
			a = KLTopKRow(o.f[0], o.f[1], []int32{int32(n - 1), 0}[:min(2, n)], o.f[2][:min(2, n)], 0.2, 2, 0.3)
		}
		return a, 0
	}},
	{"AdamW", func(o *operands) (a, b float32) {
		AdamW(o.f[0], o.f[1], o.f[2], o.f[3], AdamWArgs{LR: 1e-2, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1,
			BiasCorr1: 0.1, BiasCorr2: 0.01, GradScale: 0.5})
		return
	}},
}

// Every variant gives the bits of the generic one: all tails, alignments, operands that end or begin at an unreadable page,
// and every kind of number.
func TestVariantsAgree(t *testing.T) {
	if len(Variants()) == 1 {
		t.Skip("only the generic variant here")
	}
	chosen := Variant()
	t.Cleanup(func() {
		if err := SetVariant(chosen); err != nil {
			t.Error(err)
		}
	})
	r := kerneltest.Rand(t.Name())
	sizes := kerneltest.Sizes(70, 70)
	// AVX-512 takes tails from 128 on.
	for n := 127; n < 162; n++ {
		sizes = append(sizes, n)
	}
	sizes = append(sizes, 255, 256, 257, 263, 300, 520)
	for _, n := range sizes {
		for s, side := range kerneltest.Sides {
			// One set touches the guard page, the other has another alignment.
			sets := []*operands{newOperands(t, n, side, 0), newOperands(t, n, side, 1+(n+s)%7)}
			input, want := newOperands(t, n, side, 0), newOperands(t, n, side, 0)
			for c, content := range contents {
				if n > 70 && (c+n)%2 == 0 {
					continue
				}
				input.fill(r, content.next)
				for _, k := range kernels {
					want.copyFrom(input)
					set(t, isa.Generic)
					wa, wb := k.run(want)
					for _, v := range Variants()[1:] {
						set(t, v)
						got := sets[c%2]
						got.copyFrom(input)
						ga, gb := k.run(got)
						err := kerneltest.Bits([]float32{ga, gb}, []float32{wa, wb})
						if err == nil {
							err = got.differs(want)
						}
						if err != nil {
							t.Fatalf("%s %s, n %d, %s, guard at %v: %v", k.name, v, n, content.name, side, err)
						}
					}
				}
			}
		}
	}
}

func set(t testing.TB, name string) {
	if err := SetVariant(name); err != nil {
		t.Fatal(err)
	}
}

// A walk over all float32 with a stride: Exp1 has few branches, and each must fall at the same argument.
func TestExpVariantsOverTheRange(t *testing.T) {
	chosen := Variant()
	defer set(t, chosen)
	const step = 1021
	x, want, got := make([]float32, 4096), make([]float32, 4096), make([]float32, 4096)
	for b := uint64(0); b < 1<<32; {
		for i := range x {
			x[i] = math.Float32frombits(uint32(b))
			b += step
		}
		expGeneric(want, x)
		for _, v := range Variants()[1:] {
			set(t, v)
			Exp(got, x)
			if err := kerneltest.Bits(got, want); err != nil {
				t.Fatalf("%s from %v: %v", v, x[0], err)
			}
		}
	}
}

func TestSetVariant(t *testing.T) {
	chosen := Variant()
	defer set(t, chosen)
	if chosen != Variants()[len(Variants())-1] {
		t.Errorf("chose %q of %q", chosen, Variants())
	}
	for _, v := range Variants() {
		if err := SetVariant(v); err != nil || Variant() != v {
			t.Errorf("%s: %v, %s", v, err, Variant())
		}
	}
	if SetVariant("vax") == nil {
		t.Error("accepted an unknown variant")
	}
}
