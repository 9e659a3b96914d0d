package eval

import (
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	for kind, r := range runtimes(t, edge(), nil, 1) {
		for _, batch := range []int{1, 3} {
			s := must(Measure(t.Context(), r, MeasureOptions{Batch: batch, Runs: 3, Time: time.Millisecond}))
			if len(s.Runs) != 3 || s.TokensPerSecond <= 0 {
				t.Errorf("%s: %+v", kind, s)
			}
		}
	}
	for _, tc := range []struct {
		x    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(tc.x); got != tc.want {
			t.Errorf("median of %v: %v", tc.x, got)
		}
	}
}
