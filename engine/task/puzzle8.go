package task

import "slices"

// board8 is an 8-puzzle position: board8[c] is the tile on cell c, row by row
// from the top left, 0 for the gap.
type board8 [9]uint8

var goal8 = board8{1, 2, 3, 4, 5, 6, 7, 8, 0}

// The moves of the gap, in the order of moves8.
const moves8 = "UDLR"

// step8[c][m] is the cell that move m takes a gap on cell c to, -1 off the
// board.
var step8 = func() (t [9][4]int) {
	for c := range 9 {
		row, col := c/3, c%3
		t[c] = [4]int{-1, -1, -1, -1}
		if row > 0 {
			t[c][0] = c - 3
		}
		if row < 2 {
			t[c][1] = c + 3
		}
		if col > 0 {
			t[c][2] = c - 1
		}
		if col < 2 {
			t[c][3] = c + 1
		}
	}
	return t
}()

const states8 = 362_880 // 9!, of which play reaches half

var factorial8 = [9]int{40320, 5040, 720, 120, 24, 6, 2, 1, 1}

func (b board8) gap() int { return slices.Index(b[:], 0) }

// play moves the gap; ok is false where the edge forbids it.
func (b board8) play(m int) (next board8, ok bool) {
	g := b.gap()
	to := step8[g][m]
	if to < 0 {
		return b, false
	}
	b[g], b[to] = b[to], 0
	return b, true
}

// rank is the position's place among all permutations in lexicographic order
// (its Lehmer code).
func (b board8) rank() int {
	r := 0
	used := 0
	for c, tile := range b {
		less := int(tile)
		for t := range int(tile) {
			less -= used >> t & 1
		}
		r += less * factorial8[c]
		used |= 1 << tile
	}
	return r
}

func unrank8(r int) board8 {
	var b board8
	left := []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8}
	for c := range b {
		i := r / factorial8[c]
		r %= factorial8[c]
		b[c] = left[i]
		left = slices.Delete(left, i, i+1)
	}
	return b
}

// transposed mirrors the board at the main diagonal and renames the tiles so
// that the goal is its own image: up becomes left, down becomes right, and
// distances stay. It is the one symmetry of the goal.
func (b board8) transposed() board8 {
	var t board8
	for c, tile := range b {
		t[transpose8(c)] = tile
		if tile != 0 {
			t[transpose8(c)] = uint8(transpose8(int(tile)-1) + 1)
		}
	}
	return t
}

func transpose8(c int) int { return c%3*3 + c/3 }

func (b board8) canonical() int { return min(b.rank(), b.transposed().rank()) }

// distances8 holds, by rank, the least number of moves to the goal, -1 where
// the goal cannot be reached.
type distances8 struct {
	to      [states8]int8
	reached []int32 // ranks by increasing distance
	counts  [32]int // of positions by their distance
}

// solve8 searches breadth first from the goal; moves are reversible.
func solve8() *distances8 {
	d := &distances8{reached: make([]int32, 1, states8/2)}
	for i := range d.to {
		d.to[i] = -1
	}
	d.reached[0] = int32(goal8.rank())
	d.to[goal8.rank()] = 0
	for i := 0; i < len(d.reached); i++ {
		r := d.reached[i]
		d.counts[d.to[r]]++
		b := unrank8(int(r))
		for m := range len(moves8) {
			next, ok := b.play(m)
			if !ok {
				continue
			}
			if n := next.rank(); d.to[n] < 0 {
				d.to[n] = d.to[r] + 1
				d.reached = append(d.reached, int32(n))
			}
		}
	}
	return d
}

// best returns the moves that bring the goal nearer.
func (d *distances8) best(b board8) []string {
	here := d.to[b.rank()]
	var out []string
	for m := range len(moves8) {
		if next, ok := b.play(m); ok && d.to[next.rank()] < here {
			out = append(out, moves8[m:m+1])
		}
	}
	return out
}
