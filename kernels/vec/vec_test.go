package vec

import (
	"math"
	"testing"

	"mito/kernels/kerneltest"
	"mito/kernels/ref"
)

func TestSumOrder(t *testing.T) {
	// Lanes and tree written out, with values whose order shows in the bits.
	x := normal(rng(t), 19, 1)
	x[3], x[11] = 1e8, -1e8
	var l [8]float32
	for i, v := range x {
		l[i%8] += v
	}
	want := ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
	if got := Sum(x); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if Sum(nil) != 0 || AbsMax(nil) != 0 || !math.IsInf(float64(Max(nil)), -1) || ArgMax(nil) != -1 {
		t.Error("empty slices")
	}
}

func TestReductions(t *testing.T) {
	r := rng(t)
	for _, n := range sizes {
		x, y := normal(r, n, 1), normal(r, n, 1)
		var sum, dot, abs, dotAbs, ss float64
		for i := range x {
			sum += float64(x[i])
			abs += math.Abs(float64(x[i]))
			p := float64(x[i]) * float64(y[i])
			dot += p
			dotAbs += math.Abs(p)
			ss += float64(x[i]) * float64(x[i])
		}
		tol := within{0, laneSum(n)}
		near(t, "Sum", float64(Sum(x))/abs, sum/abs, tol)
		near(t, "Dot", float64(Dot(x, y))/dotAbs, dot/dotAbs, tol)
		near(t, "SumSquares", float64(SumSquares(x))/ss, 1, tol)
		near(t, "SumSquares64", SumSquares64(x)/ss, 1, within{0, 4 * math.Sqrt(float64(n)) * 0x1p-53 / kerneltest.Eps})
		i := ArgMax(x)
		if Max(x) != x[i] {
			t.Errorf("Max %v, ArgMax %v", Max(x), x[i])
		}
		if a := AbsMax(x); a != max(Max(x), -minOf(x)) {
			t.Errorf("AbsMax %v", a)
		}
	}
	nan := float32(math.NaN())
	if !isNaN(AbsMax([]float32{1, nan, 2})) || Max([]float32{1, nan, 2}) != 2 || ArgMax([]float32{nan, 1, 3, 3}) != 2 {
		t.Error("NaN")
	}
	if math.Float32bits(Max([]float32{float32(math.Copysign(0, -1))})) != 0 {
		t.Error("Max of -0 is not +0")
	}
}

func minOf(x []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range x {
		m = min(m, v)
	}
	return m
}

func TestElementwise(t *testing.T) {
	dst, a, b := make([]float32, 3, 4), []float32{1, 2, 3}, []float32{10, 20, 30}
	check := func(what string, want ...float32) {
		t.Helper()
		for i := range want {
			if dst[i] != want[i] {
				t.Errorf("%s: got %v, want %v", what, dst, want)
				return
			}
		}
	}
	Add(dst, a, b)
	check("Add", 11, 22, 33)
	Mul(dst, a, b)
	check("Mul", 10, 40, 90)
	Scale(dst, a, 3)
	check("Scale", 3, 6, 9)
	Axpy(dst, 2, a)
	check("Axpy", 5, 10, 15)
	Lerp(dst, b, 0.5)
	check("Lerp", 7.5, 15, 22.5)
	ScaleInt32(dst, []int32{-4, 5, 6}, 0.5, []float32{2, 4, 8})
	check("ScaleInt32", -4, 10, 24)
	AddScaleInt32(dst, []int32{-4, 5, 6}, 0.5, []float32{2, 4, 8})
	check("AddScaleInt32", -8, 20, 48)
	DequantizeRow(dst, []int8{-127, 0, 3}, 0.5)
	check("DequantizeRow", -63.5, 0, 1.5)
	Fill(dst, 7)
	check("Fill", 7, 7, 7)
}

func TestShortSlicesPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"Add":          func() { Add(make([]float32, 4), make([]float32, 4), make([]float32, 3, 4)) },
		"Softmax":      func() { Softmax(make([]float32, 4), make([]float32, 3, 4)) },
		"RMSNorm":      func() { RMSNorm(make([]float32, 4), make([]float32, 4), make([]float32, 3, 4), 1) },
		"QuantizeRow":  func() { QuantizeRow(make([]int8, 4), make([]float32, 3, 4)) },
		"CrossEntropy": func() { CrossEntropyRow(nil, make([]float32, 4), 4, 0, 1, false) },
		"KLRow":        func() { KLRow(nil, make([]float32, 4), make([]float32, 3, 4), 1, 1) },
		"AdamW": func() {
			AdamW(make([]float32, 4), make([]float32, 4), make([]float32, 4), make([]float32, 3, 4), AdamWArgs{})
		},
		"RoPE":          func() { RoPE(make([]float32, 4), make([]float32, 2), make([]float32, 1), false) },
		"SwiGLU":        func() { SwiGLU(make([]float32, 4), make([]float32, 4), make([]float32, 3, 4)) },
		"DequantizeRow": func() { DequantizeRow(make([]float32, 4), make([]int8, 3), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			// A slice with spare capacity must not hide the mistake.
			f()
		})
	}
}

func TestQuantizeRow(t *testing.T) {
	r := rng(t)
	for _, n := range sizes {
		x := normal(r, n, 3)
		q := make([]int8, n)
		s := QuantizeRow(q, x)
		want, ws := ref.Quantize(wide(x))
		near(t, "scale", float64(s)/ws, 1, within{1, 0})
		for i := range q {
			// A value within rounding of a half may go either way.
			half := math.Abs(float64(x[i]))/ws - math.Floor(math.Abs(float64(x[i]))/ws)
			if int(q[i]) != want[i] && math.Abs(half-0.5) > 127*4*eps32 {
				t.Errorf("n %d: q[%d] = %d, want %d", n, i, q[i], want[i])
			}
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name  string
		x     []float32
		q     []int8
		scale float32
	}{
		{"zero", []float32{0, 0}, []int8{0, 0}, 0},
		{"extremes", []float32{-2, 2, 1}, []int8{-127, 127, 64}, float32(2) / 127},
		{"half away", []float32{127, 0.5, -0.5, 2.5, -2.5}, []int8{127, 1, -1, 3, -3}, 1},
		{"largest", []float32{math.MaxFloat32, -math.MaxFloat32}, []int8{127, -127}, math.MaxFloat32 / float32(127)},
		{"below floor", []float32{0x1.fffffep-56, -1e-45}, []int8{0, 0}, 0},
		{"at floor", []float32{0x1p-55, -0x1p-56}, []int8{127, -64}, float32(0x1p-55) / 127},
		{"Inf", []float32{1, -inf}, []int8{0, 0}, nan},
		{"NaN", []float32{1, nan}, []int8{0, 0}, nan},
	} {
		q := []int8{99, 99, 99, 99, 99}[:len(c.x)]
		s := QuantizeRow(q, c.x)
		if math.Float32bits(s) != math.Float32bits(c.scale) && !(isNaN(s) && isNaN(c.scale)) {
			t.Errorf("%s: scale %g, want %g", c.name, s, c.scale)
		}
		for i := range q {
			if q[i] != c.q[i] {
				t.Errorf("%s: got %v, want %v", c.name, q, c.q)
				break
			}
		}
	}
}

// No magnitude may round to 128: the proof in QuantizeRow's comment, tried on many largest values.
func TestQuantizeRowNeverLeavesRange(t *testing.T) {
	r := rng(t)
	q := make([]int8, 2)
	for range 300_000 {
		a := math.Float32frombits(uint32(0x24000000 + r.IntN(0x7f800000-0x24000000)))
		if QuantizeRow(q, []float32{a, -a}); q[0] != 127 || q[1] != -127 {
			t.Fatalf("±%g became %v", a, q)
		}
	}
}

func TestSoftmax(t *testing.T) {
	r := rng(t)
	for _, n := range sizes {
		for _, scale := range []float32{1, 0.25} {
			x := normal(r, n, 4)
			y := make([]float32, n)
			SoftmaxScaled(y, x, scale)
			want := ref.Softmax(wide(x), float64(scale))
			// The relative error has the rounding of z-m (|z| up to 20), of the exponential and of the sum.
			for i := range y {
				if math.Abs(float64(y[i])-want[i]) > want[i]*eps32*(24+float64(n)/8) {
					t.Errorf("n %d: y[%d] = %g, want %g", n, i, y[i], want[i])
					break
				}
			}
			if scale == 1 {
				near(t, "LogSumExp", float64(LogSumExp(x)), ref.LogSumExp(wide(x)), within{1, laneSum(n)})
				Softmax(x, x)
				for i := range x {
					if x[i] != y[i] {
						t.Fatal("in place differs")
					}
				}
			}
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	y := make([]float32, 3, 4)
	Softmax(y, []float32{1, -inf, 1})
	if y[0] != 0.5 || y[1] != 0 || y[2] != 0.5 {
		t.Errorf("masked: %v", y)
	}
	for _, x := range [][]float32{{1, nan, 2}, {1, inf, 2}, {-inf, -inf, -inf}} {
		Softmax(y, x)
		if !isNaN(y[0]) || !isNaN(y[1]) || !isNaN(y[2]) {
			if !(x[1] == inf && isNaN(y[1])) {
				t.Errorf("Softmax(%v) = %v", x, y)
			}
		}
	}
	if !math.IsInf(float64(LogSumExp(nil)), -1) {
		t.Error("LogSumExp(nil)")
	}
}
