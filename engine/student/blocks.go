package student

import (
	"time"

	"mito/kernels/qgemm"
	"mito/kernels/sparse"
)

// Shares of stored blocks up to which a matrix may be stored in blocks. Above the second no machine gains by it.
const (
	alwaysShare   = 0.55
	measuredShare = 0.85
)

// product packs a matrix in the form that the options ask for.
func (p *packer) product(q []int8, rows, cols int) (product, error) {
	stored, all := sparse.Live(q, rows, cols)
	share := float64(stored) / float64(max(1, all))
	if p.blocks == BlocksNever || p.blocks == BlocksAlways && share > alwaysShare || share > measuredShare {
		return qgemm.Pack(q, rows, cols)
	}
	blocks, err := sparse.Pack(q, rows, cols)
	if err != nil {
		return nil, err
	}
	if p.blocks == BlocksMeasured {
		dense, err := qgemm.Pack(q, rows, cols)
		if err != nil || !faster(blocks, dense, p.unsigned) {
			return dense, err
		}
	}
	p.blocked++
	return blocks, nil
}

// Repetitions that decide between two forms of a matrix: the fastest of some in turns, each as long as a clock can tell.
const (
	formTrials = 5
	formTime   = 10 * time.Microsecond
)

// faster says whether a multiplies one row sooner than b. Both give the same sums, so the choice changes no bit.
func faster(a, b product, unsigned bool) bool {
	x := make([]int8, max(a.K(), b.K()))
	for i := range x {
		x[i] = int8(i*37%127 + 1)
	}
	acc := make([]int32, max(a.PaddedN(), b.PaddedN()))
	best := [2]time.Duration{1<<63 - 1, 1<<63 - 1}
	for range formTrials {
		for i, p := range []product{a, b} {
			n, began := 0, time.Now()
			for n == 0 || time.Since(began) < formTime {
				p.Mul(acc[:p.PaddedN()], p.PaddedN(), x, 1, 0, p.N(), unsigned)
				n++
			}
			best[i] = min(best[i], time.Since(began)/time.Duration(n))
		}
	}
	return best[0] < best[1]
}
