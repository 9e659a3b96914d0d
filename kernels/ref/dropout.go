package ref

// Dropped tells whether dropout takes out the element (row, col) of the batch: the 64-bit finaliser of MurmurHash3 over
// seed, row and column, of which the upper half is compared with rate·2³².
func Dropped(seed uint64, row int64, col int, rate float64) bool {
	h := seed ^ uint64(row)*0x9e3779b97f4a7c15 ^ uint64(col)*0xc2b2ae3d27d4eb4f
	for _, mul := range []uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53, 1} {
		h = (h ^ h>>33) * mul
	}
	return float64(h>>32) < float64(uint64(rate*(1<<32)))
}

// Dropout returns x·mask/(1-rate), arXiv:1207.0580 (x [N,C], row the index of its first row in the batch).
func Dropout(x []float64, c int, rate float64, seed uint64, row int64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		if !Dropped(seed, row+int64(i/c), i%c, rate) {
			y[i] = v / (1 - rate)
		}
	}
	return y
}
