//go:build cuda && linux && (amd64 || arm64)

package cuda_test

import (
	"math"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda"
)

// Products of one shape share launches where none of them touches what another writes, and give what they give one by one: to the
// bit, but for a sum of products, which is rounded less often.
func TestJoinedLaunches(t *testing.T) {
	const m, n, k = 600, 140, 70
	type slots = []*tensor.Dense
	nt, tn := backend.MatMulArgs{TransB: true}, backend.MatMulArgs{TransA: true, Accumulate: true}
	more := backend.MatMulArgs{Accumulate: true}
	// x 0..2 [m,k], w 3..5 [n,k], y 6..8 [m,n], g 9..11 [n,k], r 12, 13 [m,k]
	for _, c := range []struct {
		name     string
		launches int64 // together
		calls    func(b backend.Backend, x slots) []error
	}{
		{"three of one input", 1, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[6], x[0], x[3], nt), b.MatMul(x[7], x[0], x[4], nt), b.MatMul(x[8], x[0], x[5], nt)}
		}},
		{"gradients of weights between those of the input", 2, func(b backend.Backend, x slots) []error {
			return []error{
				b.MatMul(x[9], x[6], x[0], tn), b.MatMul(x[12], x[6], x[3], backend.MatMulArgs{}),
				b.MatMul(x[10], x[7], x[0], tn), b.MatMul(x[12], x[7], x[4], more),
				b.MatMul(x[11], x[8], x[0], tn), b.MatMul(x[12], x[8], x[5], more),
			}
		}},
		{"four are too many for one", 2, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[6], x[0], x[3], nt), b.MatMul(x[7], x[0], x[4], nt), b.MatMul(x[8], x[0], x[5], nt), b.MatMul(x[6], x[1], x[3], nt)}
		}},
		{"one that reads the other's result", 2, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[12], x[6], x[3], backend.MatMulArgs{}), b.MatMul(x[13], x[7], x[4], backend.MatMulArgs{}),
				b.MatMul(x[9], x[6], x[12], tn), b.MatMul(x[10], x[7], x[13], tn)}
		}},
		{"one that writes what an earlier one reads", 3, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[9], x[6], x[0], tn), b.MatMul(x[0], x[6], x[3], backend.MatMulArgs{}), b.MatMul(x[10], x[7], x[0], tn)}
		}},
		{"one result twice", 2, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[6], x[0], x[3], nt), b.MatMul(x[6], x[1], x[4], nt)}
		}},
		{"activation of the last", 2, func(b backend.Backend, x slots) []error {
			return []error{b.MatMul(x[9], x[6], x[0], tn), b.MatMul(x[7], x[0], x[3], nt), b.Activate(x[8], x[7], backend.ReLU2)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			together, launches := outcome(t, false, m, n, k, c.calls)
			alone, _ := outcome(t, true, m, n, k, c.calls)
			if launches != c.launches {
				t.Errorf("%d launches, want %d", launches, c.launches)
			}
			for i := range alone {
				limit := 0.0
				if i == 12 { // of up to 3·140 products of normal factors
					limit = 1e-4
				}
				for j, want := range alone[i] {
					if d := math.Abs(float64(together[i][j] - want)); !(d <= limit) {
						t.Fatalf("tensor %d, element %d: %v, one by one %v", i, j, together[i][j], want)
					}
				}
			}
		})
	}
}

// waiting is a backend that waits after every call of the test, so that nothing is held back for the next.
type waiting struct{ *cuda.Backend }

func (w waiting) MatMul(c, a, b *tensor.Dense, args backend.MatMulArgs) error {
	return backend.First(w.Backend.MatMul(c, a, b, args), w.Synchronize())
}

// outcome makes the tensors of TestJoinedLaunches, the same in every call, runs the calls and returns what the tensors hold and how
// many launches that took.
func outcome(t *testing.T, wait bool, m, n, k int, calls func(b backend.Backend, x []*tensor.Dense) []error) (after [][]float32, launches int64) {
	t.Helper()
	p := newPairOf(t, backend.BFloat16, 4<<20)
	var x []*tensor.Dense
	for _, s := range [][]int{{m, k}, {n, k}, {m, n}, {n, k}} {
		for range 3 {
			x = append(x, p.normal(s...)[1])
		}
	}
	x = append(x, p.normal(m, k)[1], p.normal(m, k)[1])
	b := p.on[1].(*cuda.Backend)
	must(t, b.Synchronize())
	before := b.Stats().Launches
	var on backend.Backend = b
	if wait {
		on = waiting{b}
	}
	for _, err := range calls(on, x) {
		must(t, err)
	}
	must(t, b.Synchronize())
	launches = b.Stats().Launches - before
	for _, tensor := range x {
		v := make([]float32, tensor.Shape().TotalSize())
		must(t, b.Download(v, tensor))
		after = append(after, v)
	}
	return after, launches
}
