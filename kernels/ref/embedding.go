package ref

// Embed returns table[ids[n]] for every n, added to start where start is not nil (table [V,C]; result, start [N,C]).
func Embed(table []float64, ids []int32, c int, start []float64) []float64 {
	y := make([]float64, len(ids)*c)
	copy(y, start)
	for n, id := range ids {
		for i := range c {
			y[n*c+i] += table[int(id)*c+i]
		}
	}
	return y
}

// EmbedBackward returns dtable with dy[n] added to its row ids[n] (dtable [V,C], dy [N,C]).
func EmbedBackward(dtable, dy []float64, ids []int32, c int) []float64 {
	d := append([]float64(nil), dtable...)
	for n, id := range ids {
		for i := range c {
			d[int(id)*c+i] += dy[n*c+i]
		}
	}
	return d
}

// Rotate turns one head x [D] by angles of which cos and sin [D/2] are given, back with inverse: RoPE from tables.
func Rotate(x, cos, sin []float64, inverse bool) []float64 {
	h := len(x) / 2
	y := make([]float64, len(x))
	for i := range h {
		s := sin[i]
		if inverse {
			s = -s
		}
		y[i] = x[i]*cos[i] - x[i+h]*s
		y[i+h] = x[i+h]*cos[i] + x[i]*s
	}
	return y
}
