package ref

import (
	"math"
	"testing"
)

// A key, a query or a value that is not finite reaches every element of the result, as SPEC.md says, and not by way of a
// conversion to an integer, which each processor makes of NaN what it likes. Values that are all zero stop that.
func TestStudentAttentionKeepsNaN(t *testing.T) {
	s := &Attention{Batch: 1, Time: 2, Heads: 1, KVHeads: 1, HeadDim: 2, Scale: 1}
	inf := float32(math.Inf(1))
	for name, tc := range map[string]struct {
		q, k, v float32
		nan     bool
	}{
		"finite": {1, 1, 1, false}, "query": {inf, 1, 1, true}, "key": {1, inf, 1, true}, "value": {1, 1, inf, true},
		"zero values": {1, inf, 0, false},
	} {
		row := func(x float32) []float32 { return []float32{x, x, x, x} }
		for i, v := range StudentAttention(s, row(tc.q), row(tc.k), row(tc.v)) {
			if math.IsNaN(float64(v)) != tc.nan {
				t.Errorf("%s: out[%d] = %v", name, i, v)
			}
		}
	}
}
