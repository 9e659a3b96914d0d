package ref

import "math"

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
	c := float32(qs * float32(s.Scale))
	score := make([]float32, pos+1)
	v8, vs := make([][]int8, pos+1), make([]float32, pos+1)
	var best, most float32
	for t := first; t <= pos; t++ {
		at := s.kv(b, t, h)
		k8, ks := StudentQuantize(k[at:][:s.HeadDim])
		v8[t], vs[t] = StudentQuantize(v[at:][:s.HeadDim])
		var acc int32
		for d := range q8 {
			acc += int32(k8[d]) * int32(q8[d])
		}
		score[t] = float32(float32(acc) * float32(ks*c))
		if t == first || score[t] > best {
			best = score[t] + 0 // a zero counts as +0
		}
		most = max(most, vs[t])
	}
	if most == 0 {
		return out
	}
	for t := first; t <= pos; t++ {
		score[t] = StudentExp(score[t] - best)
	}
	z := 1 / StudentSum(pos+1, func(t int) float32 { return score[t] })
	if math.IsNaN(float64(most)) || math.IsNaN(float64(z)) {
		for d := range out {
			out[d] = float32(math.NaN())
		}
		return out
	}
	unit, g := 32767/most, most/32767
	acc := make([]int32, s.HeadDim)
	for t := first; t <= pos; t++ {
		p := float32(score[t] * z)
		w := int32(float32(float32(p*vs[t])*unit) + 0.5)
		for d := range acc {
			acc[d] += w * int32(v8[t][d])
		}
	}
	for d := range out {
		out[d] = float32(acc[d]) * g
	}
	return out
}
