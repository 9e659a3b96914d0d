package ref

import (
	"math"
	"slices"
)

// StudentAttention is the stated causal attention over whole sequences with keys and values quantised per head and token
// (q [B,T,H,D], k and v [B,T,G,D], result as q).
func StudentAttention(s *Attention, q, k, v []float32) []float32 {
	out := make([]float32, len(q))
	for b := range s.Batch {
		for h := range s.Heads {
			for pos := range s.Time {
				at := s.q(b, pos, h)
				copy(out[at:], s.studentRow(q[at:][:s.HeadDim], k, v, b, h, pos))
			}
		}
	}
	return out
}

func (s *Attention) studentRow(q, k, v []float32, b, h, pos int) []float32 {
	out := make([]float32, s.HeadDim)
	first := 0
	if s.Window > 0 {
		first = max(0, pos-s.Window+1)
	}
	q8, qs := StudentQuantize(q)
	c := float32(qs * float32(float32(s.Scale)*math.Float32frombits(0x4538aa3b)))
	n := pos + 1 - first
	y, v8, vs := make([]int32, n), make([][]int8, n), make([]float32, n)
	var most float32
	whole := true
	for i := range n {
		at := s.kv(b, first+i, h)
		k8, ks := StudentQuantize(k[at:][:s.HeadDim])
		v8[i], vs[i] = StudentQuantize(v[at:][:s.HeadDim])
		most = max(most, vs[i]) // NaN if one is
		var acc int32
		for d := range q8 {
			acc += int32(k8[d]) * int32(q8[d])
		}
		score := float32(float32(acc) * float32(ks*c))
		if !(score > -0x1p29 && score < 0x1p29) {
			whole = false
			continue
		}
		y[i] = int32(score)
	}
	if most == 0 {
		return out
	}
	if !whole || !(most < 0x1p100) {
		for d := range out {
			out[d] = float32(math.NaN())
		}
		return out
	}
	shift := 0
	for n > 1<<(9+shift) {
		shift++
	}
	_, x := math.Frexp(float64(most))
	x-- // of most = f·2^x with 1 <= f < 2
	best := slices.Max(y)
	var z int64
	acc := make([]int32, s.HeadDim)
	for i := range n {
		e := StudentPow2(best - y[i])
		z += int64(e)
		w := mulr(e, int32(math.Ldexp(float64(vs[i]), 14-shift-x)))
		for d := range acc {
			acc[d] += w * int32(v8[i][d])
		}
	}
	grain := float32(math.Ldexp(1, 1+shift+x)) / float32(z)
	for d := range out {
		out[d] = float32(acc[d]) * grain
	}
	return out
}
