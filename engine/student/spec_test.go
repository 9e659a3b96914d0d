package student

import (
	"math"
	"testing"

	"mito/engine/arch"
)

// This file is SPEC.md restated from its text alone: whole sequences, plain loops, no packing, no cache, none of mito's
// kernels. The runtime must have its bits.

type specRow struct {
	q     []int8
	scale float32
}

func specSum(n int, term func(i int) float32) float32 {
	var l [8]float32
	for i := range n {
		l[i%8] += term(i)
	}
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

func specExp(x float32) float32 {
	f := math.Float32frombits
	if x < -87 {
		return 0
	}
	if x > 88 {
		return f(0x7f800000)
	}
	t := float32(x * f(0x3fb8aa3b))
	var n int32
	if t >= 0 {
		n = int32(t + 0.5)
	} else {
		n = int32(t - 0.5)
	}
	r := x - float32(float32(n)*f(0x3f318000))
	r = r - float32(float32(n)*f(0xb95e8083))
	p := f(0x39506967)
	for _, c := range []uint32{0x3ab743ce, 0x3c088908, 0x3d2aa9c1, 0x3e2aaaaa, 0x3f000000} {
		p = float32(p*r) + f(c)
	}
	y := float32(float32(p*r)*r) + r
	y = y + 1
	return float32(y * f(uint32(n+127)<<23))
}

func specRsqrt(x float32) float32 {
	y := math.Float32frombits(0x5f3759df - math.Float32bits(x)>>1)
	h := float32(0.5 * x)
	for range 4 {
		y = float32(y * float32(1.5-float32(float32(h*y)*y)))
	}
	return y
}

func specQuantize(x []float32) specRow {
	var a float32
	for _, v := range x {
		a = max(a, float32(math.Abs(float64(v))))
	}
	q := make([]int8, len(x))
	if a < 0x1p-55 {
		return specRow{q, 0}
	}
	v := 127 / a
	for i := range x {
		t := float32(x[i] * v)
		if t >= 0 {
			q[i] = int8(int32(t + 0.5))
		} else {
			q[i] = int8(int32(t - 0.5))
		}
	}
	return specRow{q, a / 127}
}

func specNorm(x, gain, bias []float32, layerNorm bool, eps float32) []float32 {
	n := float32(len(x))
	y := make([]float32, len(x))
	if !layerNorm {
		r := specRsqrt(specSum(len(x), func(i int) float32 { return float32(x[i] * x[i]) })/n + eps)
		for i := range x {
			y[i] = float32(x[i]*r) * gain[i]
		}
		return y
	}
	mean := specSum(len(x), func(i int) float32 { return x[i] }) / n
	for i := range x {
		y[i] = x[i] - mean
	}
	r := specRsqrt(specSum(len(x), func(i int) float32 { return float32(y[i] * y[i]) })/n + eps)
	for i := range x {
		y[i] = float32(float32(y[i]*r)*gain[i]) + bias[i]
	}
	return y
}

func specLinear(m *Matrix, x specRow) []float32 {
	y := make([]float32, m.Rows)
	for r := range y {
		var acc int32
		for c, v := range m.Q[r*m.Cols:][:m.Cols] {
			acc += int32(v) * int32(x.q[c])
		}
		y[r] = float32(float32(acc) * float32(x.scale*m.Scale[r]))
		if m.Bias != nil {
			y[r] += m.Bias[r]
		}
	}
	return y
}

func specRope(x []float32, pos int, theta float64) {
	half := len(x) / 2
	m, e := math.Frexp(theta)
	z := (m - 1) / (m + 1)
	zz := float64(z * z)
	s := 1.0 / 47
	for k := 45; k >= 1; k -= 2 {
		s = float64(s*zz) + 1/float64(k)
	}
	lnTheta := float64(float64(e)*0x1.62e42fefa39efp-1) + float64(float64(2*z)*s)
	for i := range half {
		y := -(float64(float64(2*i)*lnTheta) / float64(len(x))) / 1024
		f := 1.0
		for k := 12; k >= 1; k-- {
			f = 1 + float64(float64(y*f)/float64(k))
		}
		for range 10 {
			f = float64(f * f)
		}
		ff := float64(f * f)
		cf, sf := 1.0, 1.0
		for k := 10; k >= 1; k-- {
			cf = 1 - float64(ff*cf)/float64((2*k-1)*2*k)
			sf = 1 - float64(ff*sf)/float64(2*k*(2*k+1))
		}
		sf = float64(f * sf)
		c, sn := 1.0, 0.0
		for range pos {
			c, sn = float64(c*cf)-float64(sn*sf), float64(sn*cf)+float64(c*sf)
		}
		a, b, c32, s32 := x[i], x[i+half], float32(c), float32(sn)
		x[i] = float32(a*c32) - float32(b*s32)
		x[i+half] = float32(b*c32) + float32(a*s32)
	}
}

func specMulr(a, b int32) int32 { return (a*b + 16384) >> 15 }

func specPow2(d int32) int32 {
	if d > 65535 {
		d = 65535
	}
	n, x := d>>11, d%2048*16
	a := 32767 - specMulr(22632-specMulr(7512-specMulr(1261, x), x), x)
	return ((2*a)>>n + 1) >> 1
}

func specAttend(q []float32, keys, values []specRow, first int, factor float32) []float32 {
	qr := specQuantize(q)
	c := float32(qr.scale * factor)
	pos := len(keys) - 1
	out := make([]float32, len(q))
	m := float32(0)
	for t := first; t <= pos; t++ {
		m = max(m, values[t].scale)
	}
	if m == 0 {
		return out
	}
	s := 0
	for pos+1-first > 1<<(9+s) {
		s++
	}
	ex := 0
	for f := m; f >= 2; f /= 2 {
		ex++
	}
	for f := m; f < 1; f *= 2 {
		ex--
	}
	y := make([]int32, pos+1)
	best := int32(math.MinInt32)
	for t := first; t <= pos; t++ {
		var acc int32
		for i, v := range keys[t].q {
			acc += int32(v) * int32(qr.q[i])
		}
		sc := float32(float32(acc) * float32(keys[t].scale*c))
		if !(sc > -1<<29 && sc < 1<<29) {
			m = float32(math.NaN())
			continue
		}
		y[t] = int32(sc)
		best = max(best, y[t])
	}
	if !(m < 1<<100) {
		for i := range out {
			out[i] = float32(math.NaN())
		}
		return out
	}
	acc := make([]int32, len(q))
	z := int64(0)
	for t := first; t <= pos; t++ {
		e := specPow2(best - y[t])
		z += int64(e)
		w := specMulr(e, int32(float64(values[t].scale)*math.Ldexp(1, 14-s-ex)))
		for i, v := range values[t].q {
			acc[i] += w * int32(v)
		}
	}
	g := float32(math.Ldexp(1, 1+s+ex)) / float32(z)
	for i := range out {
		out[i] = float32(acc[i]) * g
	}
	return out
}

// specForward returns the logits after every token.
func specForward(w *Weights, tokens []int32) [][]float32 {
	c := &w.Config
	ln := c.Norm == arch.NormLayer
	keys, values := make([][][]specRow, c.Layers), make([][][]specRow, c.Layers) // [layer][head][position]
	for l := range keys {
		g := w.Layers[l].Key.Rows / c.HeadDim
		keys[l], values[l] = make([][]specRow, g), make([][]specRow, g)
	}
	var all [][]float32
	for pos, tok := range tokens {
		x := make([]float32, c.HiddenSize)
		for i := range x {
			x[i] = float32(float32(w.Embedding.Q[int(tok)*len(x)+i]) * w.Embedding.Scale[tok])
			if c.Position == arch.PositionLearned {
				x[i] += float32(float32(w.Positions.Q[pos*len(x)+i]) * w.Positions.Scale[pos])
			}
		}
		for li := range w.Layers {
			l, window, scale := &w.Layers[li], c.Window, c.Scale
			if c.LayerShapes != nil {
				window, scale = c.LayerShapes[li].Window, c.LayerShapes[li].Scale
			}
			if scale == 0 {
				scale = float32(1 / math.Sqrt(float64(c.HeadDim)))
			}
			h := specQuantize(specNorm(x, l.Norm1, l.Norm1Bias, ln, c.NormEps))
			q, k, v := specLinear(&l.Query, h), specLinear(&l.Key, h), specLinear(&l.Value, h)
			d := c.HeadDim
			place := func(y, gain []float32) []float32 {
				if c.QKNorm {
					y = specNorm(y, gain, nil, false, c.NormEps)
				}
				if c.Position == arch.PositionRoPE {
					specRope(y, pos, c.RoPETheta)
				}
				return y
			}
			for g := range keys[li] {
				keys[li][g] = append(keys[li][g], specQuantize(place(k[g*d:][:d:d], l.KeyNorm)))
				values[li][g] = append(values[li][g], specQuantize(v[g*d:][:d]))
			}
			first := 0
			if window > 0 {
				first = max(0, pos-window+1)
			}
			var heads []float32
			n := len(q) / d
			for hd := range n {
				g := hd * len(keys[li]) / n
				heads = append(heads, specAttend(place(q[hd*d:][:d:d], l.QueryNorm), keys[li][g], values[li][g], first, scale*math.Float32frombits(0x4538aa3b))...)
			}
			for i, y := range specLinear(&l.Output, specQuantize(heads)) {
				x[i] += y
			}
			h = specQuantize(specNorm(x, l.Norm2, l.Norm2Bias, ln, c.NormEps))
			up := specLinear(&l.Up, h)
			var gate []float32
			if c.Activation == arch.ActSwiGLU {
				gate = specLinear(&l.Gate, h)
			}
			for i, u := range up {
				switch c.Activation {
				case arch.ActReLU:
					up[i] = max(u, 0)
				case arch.ActReLU2:
					up[i] = max(u, 0) * max(u, 0)
				case arch.ActGELU:
					z := float32(u * u)
					arg := u * float32(float32(z*math.Float32frombits(0x3d922279))+math.Float32frombits(0x3fcc422a))
					up[i] = u / float32(1+specExp(-arg))
				case arch.ActSwiGLU:
					up[i] = float32(gate[i]/float32(1+specExp(-gate[i]))) * u
				}
			}
			for i, y := range specLinear(&l.Down, specQuantize(up)) {
				x[i] += y
			}
		}
		head := &w.Head
		if c.TieEmbeddings {
			head = &w.Embedding
		}
		all = append(all, specLinear(head, specQuantize(specNorm(x, w.Norm, w.NormBias, ln, c.NormEps))))
	}
	return all
}

func sameBits(a, b []float32) int {
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func TestRuntimeIsTheSpec(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		w := randomWeights(c, 1)
		tokens := DigestTokens(c)
		want := specForward(w, tokens)
		s := newSession(t, newModel(t, w, Options{}), 1)
		for i, tok := range tokens {
			got, err := s.Step([]int32{tok})
			if err != nil {
				t.Fatal(err)
			}
			if at := sameBits(got[0], want[i]); at >= 0 {
				t.Fatalf("token %d, logit %d: %x, the specification says %x", i, at, got[0], want[i])
			}
		}
		varied := false
		for i, v := range want[len(want)-1] {
			if !finite(v) {
				t.Fatalf("logit %d is %v: the case proves nothing", i, v)
			}
			for _, other := range want {
				varied = varied || v != other[i]
			}
		}
		if !varied {
			t.Fatal("the logits do not depend on the tokens: the case proves nothing")
		}
	})
}
