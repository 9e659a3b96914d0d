package student

import (
	"math"
	"testing"

	"mito/engine/arch"
)

// This file is SPEC.md restated from its text alone: whole sequences, plain loops, no packing, no cache, none of mito's
// kernels. The runtime must have its bits.

// spec computes as SPEC.md says, but for the one wrong reading whose name it is, see readings.
type spec string

type specRow struct {
	q     []int8
	scale float32
}

func (s spec) sum(n int, term func(i int) float32) float32 {
	var l [8]float32
	for i := range n {
		l[i%8] += term(i)
	}
	if s == "sum: neighbours first" {
		return ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]))
	}
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

func (s spec) exp(x float32) float32 {
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
	if s != "exp: one constant for ln 2" {
		r = r - float32(float32(n)*f(0xb95e8083))
	}
	p := f(0x39506967)
	for _, c := range []uint32{0x3ab743ce, 0x3c088908, 0x3d2aa9c1, 0x3e2aaaaa, 0x3f000000} {
		p = float32(p*r) + f(c)
	}
	y := float32(float32(p*r)*r) + r
	if s == "exp: p*(r*r)" {
		y = float32(p*float32(r*r)) + r
	}
	y = y + 1
	return float32(y * f(uint32(n+127)<<23))
}

func (s spec) rsqrt(x float32) float32 {
	y := math.Float32frombits(0x5f3759df - math.Float32bits(x)>>1)
	h := float32(0.5 * x)
	steps := map[spec]int{"rsqrt: 3 steps": 3, "rsqrt: 5 steps": 5}[s]
	if steps == 0 {
		steps = 4
	}
	for range steps {
		y = float32(y * float32(1.5-float32(float32(h*y)*y)))
	}
	return y
}

func (s spec) quantize(x []float32) specRow {
	var a float32
	for _, v := range x {
		a = max(a, float32(math.Abs(float64(v))))
	}
	q := make([]int8, len(x))
	if a == 0 || a < 0x1p-55 && s != "quantize: no floor" {
		return specRow{q, 0}
	}
	v := 127 / a
	for i := range x {
		t := float32(x[i] * v)
		switch s {
		case "quantize: x/(a/127)":
			t = x[i] / (a / 127)
		case "quantize: (x*127)/a":
			t = float32(x[i]*127) / a
		case "quantize: half to even":
			q[i] = int8(math.RoundToEven(float64(t)))
			continue
		}
		if t >= 0 {
			q[i] = int8(int32(t + 0.5))
		} else {
			q[i] = int8(int32(t - 0.5))
		}
	}
	return specRow{q, a / 127}
}

func (s spec) norm(x, gain, bias []float32, layerNorm bool, eps float32) []float32 {
	n := float32(len(x))
	y := make([]float32, len(x))
	if !layerNorm {
		mean := s.sum(len(x), func(i int) float32 { return float32(x[i] * x[i]) }) / n
		if s == "norm: times 1/n" {
			mean = float32(s.sum(len(x), func(i int) float32 { return float32(x[i] * x[i]) }) * (1 / n))
		}
		r := s.rsqrt(mean + eps)
		for i := range x {
			y[i] = float32(x[i]*r) * gain[i]
			if s == "norm: x*(r*gain)" {
				y[i] = x[i] * float32(r*gain[i])
			}
		}
		return y
	}
	mean := s.sum(len(x), func(i int) float32 { return x[i] }) / n
	for i := range x {
		y[i] = x[i] - mean
	}
	r := s.rsqrt(s.sum(len(x), func(i int) float32 { return float32(y[i] * y[i]) })/n + eps)
	for i := range x {
		if s == "layernorm: d*(r*gain)" {
			y[i] = float32(y[i]*float32(r*gain[i])) + bias[i]
			continue
		}
		y[i] = float32(float32(y[i]*r)*gain[i]) + bias[i]
	}
	return y
}

func (s spec) linear(m *Matrix, x specRow) []float32 {
	y := make([]float32, m.Rows)
	for r := range y {
		var acc int32
		for c, v := range m.Q[r*m.Cols:][:m.Cols] {
			acc += int32(v) * int32(x.q[c])
		}
		y[r] = float32(float32(acc) * float32(x.scale*m.Scale[r]))
		if s == "linear: (acc*s)*ws" {
			y[r] = float32(float32(acc)*x.scale) * m.Scale[r]
		}
		if m.Bias != nil && s != "linear: no bias" {
			y[r] += m.Bias[r]
		}
	}
	return y
}

func (s spec) rope(x []float32, pos int, theta float64) {
	half := len(x) / 2
	m, e := math.Frexp(theta)
	z := (m - 1) / (m + 1)
	zz := float64(z * z)
	u := 1.0 / 47
	for k := 45; k >= 1; k -= 2 {
		u = float64(u*zz) + 1/float64(k)
	}
	lnTheta := float64(float64(e)*0x1.62e42fefa39efp-1) + float64(float64(2*z)*u)
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
			if s == "rope: recurrence in f32" {
				c, sn = float64(float32(c)), float64(float32(sn))
			}
		}
		c32, s32 := float32(c), float32(sn)
		if s == "rope: neighbouring pairs" {
			a, b := x[2*i], x[2*i+1]
			x[2*i], x[2*i+1] = float32(a*c32)-float32(b*s32), float32(b*c32)+float32(a*s32)
			continue
		}
		a, b := x[i], x[i+half]
		x[i] = float32(a*c32) - float32(b*s32)
		x[i+half] = float32(b*c32) + float32(a*s32)
	}
}

func (s spec) mulr(a, b int32) int32 {
	if s == "mulr: cut" {
		return a * b >> 15
	}
	return (a*b + 16384) >> 15
}

func (s spec) pow2(d int32) int32 {
	if d > 65535 {
		d = 65535
	}
	n, x := d>>11, d%2048*16
	a := 32767 - s.mulr(22632-s.mulr(7512-s.mulr(1261, x), x), x)
	switch s {
	case "pow2: cut":
		return a >> n
	case "pow2: of a float":
		return int32(32767*math.Exp2(-float64(d)/2048) + 0.5)
	case "pow2: 16 octaves":
		if n >= 15 {
			return 0
		}
	}
	return ((2*a)>>n + 1) >> 1
}

func (s spec) attend(q []float32, keys, values []specRow, first int, factor float32) []float32 {
	qr := s.quantize(q)
	c := float32(qr.scale * factor)
	if s == "score: (qs*scale)*2048 log2 e" {
		c = float32(qr.scale*float32(factor/octaves)) * octaves
	}
	pos := len(keys) - 1
	out := make([]float32, len(q))
	m := float32(0)
	for t := first; t <= pos; t++ {
		m = max(m, values[t].scale)
	}
	if m == 0 {
		return out
	}
	shift := 0
	for pos+1-first > 1<<(9+shift) && s != "attention: no shift" {
		shift++
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
	if s == "attention: best from 0" {
		best = 0
	}
	for t := first; t <= pos; t++ {
		var acc int32
		for i, v := range keys[t].q {
			acc += int32(v) * int32(qr.q[i])
		}
		sc := float32(float32(acc) * float32(keys[t].scale*c))
		switch s {
		case "score: (acc*ks)*c":
			sc = float32(float32(acc)*keys[t].scale) * c
		case "score: (acc*c)*ks":
			sc = float32(float32(acc)*c) * keys[t].scale
		case "score: rounded":
			sc = float32(math.Round(float64(sc)))
		case "score: floor":
			sc = float32(math.Floor(float64(sc)))
		}
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
		e := s.pow2(best - y[t])
		z += int64(e)
		r := float64(values[t].scale) * math.Ldexp(1, 14-shift-ex)
		if s == "attention: value scales rounded" {
			r = min(math.Round(r), 32767)
		}
		w := s.mulr(e, int32(r))
		if s == "attention: weights cut" {
			w = e * int32(r) >> 15
		}
		for i, v := range values[t].q {
			acc[i] += w * int32(v)
		}
	}
	g := float32(math.Ldexp(1, 1+shift+ex)) / float32(z)
	for i := range out {
		out[i] = float32(acc[i]) * g
		if s == "attention: divided by Z" {
			out[i] = float32(float32(acc[i])*float32(math.Ldexp(1, 1+shift+ex))) / float32(z)
		}
	}
	return out
}

// octaves turns scores into units of 2^-11 octaves.
var octaves = math.Float32frombits(0x4538aa3b)

func (s spec) activation(kind string, u, gate float32) float32 {
	switch kind {
	case arch.ActReLU:
		return max(u, 0)
	case arch.ActReLU2:
		return max(u, 0) * max(u, 0)
	case arch.ActGELU:
		z := float32(u * u)
		arg := u * float32(float32(z*math.Float32frombits(0x3d922279))+math.Float32frombits(0x3fcc422a))
		if s == "gelu: u*z*a + u*b" {
			arg = float32(float32(u*z)*math.Float32frombits(0x3d922279)) + float32(u*math.Float32frombits(0x3fcc422a))
		}
		return u / float32(1+s.exp(-arg))
	}
	if s == "swiglu: (g*u)/(1+e)" {
		return float32(gate*u) / float32(1+s.exp(-gate))
	}
	return float32(gate/float32(1+s.exp(-gate))) * u
}

// sequence decodes one sequence.
type sequence struct {
	spec
	w            *Weights
	factor       float32                  // of attention's factors
	keys, values [][][]specRow            // [layer][head][position]
	seen         map[*Matrix]map[int]bool // columns that were multiplied by more than 0, where it is not nil
}

func (s spec) begin(w *Weights, factor float32) *sequence {
	q := &sequence{spec: s, w: w, factor: factor}
	for l := range w.Layers {
		g := w.Layers[l].Key.Rows / w.Config.HeadDim
		q.keys, q.values = append(q.keys, make([][]specRow, g)), append(q.values, make([][]specRow, g))
	}
	return q
}

func (s *sequence) linear(m *Matrix, x specRow) []float32 {
	if s.seen != nil {
		if s.seen[m] == nil {
			s.seen[m] = map[int]bool{}
		}
		for i, q := range x.q {
			if q != 0 {
				s.seen[m][i] = true
			}
		}
	}
	return s.spec.linear(m, x)
}

// step returns the logits after a token.
func (s *sequence) step(tok int32) []float32 {
	w := s.w
	c := &w.Config
	ln := c.Norm == arch.NormLayer
	eps := c.NormEps
	if s.spec == "norm: other eps" {
		eps = 1e-6
	}
	pos := 0
	if len(s.keys) > 0 {
		pos = len(s.keys[0][0])
	}
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
		if s.spec == "score: other scale" {
			scale = math.Nextafter32(math.Nextafter32(scale, 2), 2)
		}
		h := s.quantize(s.norm(x, l.Norm1, l.Norm1Bias, ln, eps))
		q, k, v := s.linear(&l.Query, h), s.linear(&l.Key, h), s.linear(&l.Value, h)
		d := c.HeadDim
		place := func(y, gain []float32) []float32 {
			if c.QKNorm && s.spec != "QK-norm: after rope" {
				y = s.norm(y, gain, nil, false, eps)
			}
			if c.Position == arch.PositionRoPE {
				s.rope(y, pos, c.RoPETheta)
			}
			if c.QKNorm && s.spec == "QK-norm: after rope" {
				y = s.norm(y, gain, nil, false, eps)
			}
			return y
		}
		for g := range s.keys[li] {
			s.keys[li][g] = append(s.keys[li][g], s.quantize(place(k[g*d:][:d:d], l.KeyNorm)))
			s.values[li][g] = append(s.values[li][g], s.quantize(v[g*d:][:d]))
		}
		first := 0
		if window > 0 {
			first = max(0, pos-window+1)
			if s.spec == "window: one longer" {
				first = max(0, pos-window)
			}
		}
		var heads []float32
		n := len(q) / d
		for hd := range n {
			g := hd * len(s.keys[li]) / n
			if s.spec == "heads: h mod G" {
				g = hd % len(s.keys[li])
			}
			heads = append(heads, s.attend(place(q[hd*d:][:d:d], l.QueryNorm), s.keys[li][g], s.values[li][g], first, scale*octaves*s.factor)...)
		}
		o := s.quantize(heads)
		if s.spec == "output: a scale for each head" {
			o.q = nil
			for hd := range n {
				o.q = append(o.q, s.quantize(heads[hd*d:][:d]).q...)
			}
		}
		for i, y := range s.linear(&l.Output, o) {
			x[i] += y
		}
		h = s.quantize(s.norm(x, l.Norm2, l.Norm2Bias, ln, eps))
		up := s.linear(&l.Up, h)
		gate := make([]float32, len(up))
		if c.Activation == arch.ActSwiGLU {
			m := l.Gate
			if s.spec == "gate: no bias" {
				m.Bias = nil
			}
			gate = s.linear(&m, h)
		}
		for i, u := range up {
			up[i] = s.activation(c.Activation, u, gate[i])
		}
		down := s.linear(&l.Down, s.quantize(up))
		if c.PLEDim == 0 || s.spec != "ple: added before down" {
			for i, y := range down {
				x[i] += y
			}
		}
		if c.PLEDim == 0 {
			continue
		}
		if s.spec == "ple: gate reads behind down" {
			h = s.quantize(s.norm(x, l.Norm2, l.Norm2Bias, ln, eps))
		}
		p := s.linear(&l.PLE.Gate, h)
		row, scale := l.PLE.Table.Q[int(tok)*c.PLEDim:], l.PLE.Table.Scale[tok]
		if s.spec == "ple: tables of other layers" {
			other := w.Layers[(li+1)%len(w.Layers)].PLE.Table
			row, scale = other.Q[int(tok)*c.PLEDim:], other.Scale[tok]
		}
		for i := range p {
			e := float32(row[i])
			if s.spec == "ple: (g*e)*ts" {
				p[i] = float32(p[i]*e) * scale
				continue
			}
			p[i] = p[i] * float32(e*scale)
		}
		for i, y := range s.linear(&l.PLE.Out, s.quantize(p)) {
			x[i] += y
			if s.spec == "ple: added before down" {
				x[i] += down[i]
			}
		}
	}
	head := &w.Head
	if c.TieEmbeddings {
		head = &w.Embedding
	}
	return s.linear(head, s.quantize(s.norm(x, w.Norm, w.NormBias, ln, eps)))
}

// specForward returns the logits after every token.
func specForward(w *Weights, tokens []int32) [][]float32 {
	s := spec("").begin(w, 1)
	var all [][]float32
	for _, tok := range tokens {
		all = append(all, s.step(tok))
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
		tokens := DigestStream(c)[0]
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
