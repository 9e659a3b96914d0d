package task

import (
	"math/bits"

	"mito/engine/data"
)

const (
	side6  = 6
	cells6 = side6 * side6
	all6   = 1<<cells6 - 1
)

// board6 is a position of othello on 6 by 6 cells seen by the side to move: bit 6·row+column of its own discs and of the
// opponent's.
type board6 struct{ own, opp uint64 }

// start6 has the discs of the opponent on the falling diagonal of the centre, as Black sees it who begins.
var start6 = board6{own: cell6(2, 3) | cell6(3, 2), opp: cell6(2, 2) | cell6(3, 3)}

func cell6(row, col int) uint64 { return 1 << (side6*row + col) }

// rays6[c] are the cells from cell c in each of the eight directions, nearest first.
var rays6 = func() (t [cells6][][]uint64) {
	for c := range cells6 {
		for _, d := range [8][2]int{{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1}, {1, -1}, {1, 0}, {1, 1}} {
			var ray []uint64
			for r, k := c/side6+d[0], c%side6+d[1]; r >= 0 && r < side6 && k >= 0 && k < side6; r, k = r+d[0], k+d[1] {
				ray = append(ray, cell6(r, k))
			}
			if len(ray) > 1 {
				t[c] = append(t[c], ray)
			}
		}
	}
	return t
}()

// flips are the opponent's discs that a disc of the side to move on a free cell turns over.
func (b board6) flips(c int) (f uint64) {
	for _, ray := range rays6[c] {
		var line uint64
		for _, cell := range ray {
			if b.opp&cell == 0 {
				if b.own&cell != 0 {
					f |= line
				}
				break
			}
			line |= cell
		}
	}
	return f
}

// moves are the cells where the side to move may place a disc.
func (b board6) moves() (m uint64) {
	for free := all6 &^ (b.own | b.opp); free != 0; free &= free - 1 {
		if c := bits.TrailingZeros64(free); b.flips(c) != 0 {
			m |= 1 << c
		}
	}
	return m
}

// place puts a disc on a cell of moves, and the opponent is to move.
func (b board6) place(c int) board6 {
	f := b.flips(c)
	return board6{own: b.opp &^ f, opp: b.own | f | 1<<c}
}

func (b board6) passed() board6 { return board6{own: b.opp, opp: b.own} }

func (b board6) free() int { return cells6 - bits.OnesCount64(b.own|b.opp) }

// lead is the number of discs that the side to move has more.
func (b board6) lead() int { return bits.OnesCount64(b.own) - bits.OnesCount64(b.opp) }

// over is decided where neither side can move: more discs win.
func (b board6) over() outcome {
	if b.moves() != 0 || b.passed().moves() != 0 {
		return ongoing
	}
	switch lead := b.lead(); {
	case lead < 0:
		return lost
	case lead > 0:
		return won
	}
	return drawn
}

// symmetries6 are the places that the cells go to under the eight symmetries of the board.
var symmetries6 = func() (t [8][cells6]int) {
	for s := range t {
		for c := range cells6 {
			r, k := c/side6, c%side6
			if s&1 != 0 {
				k = side6 - 1 - k
			}
			if s&2 != 0 {
				r = side6 - 1 - r
			}
			if s&4 != 0 {
				r, k = k, r
			}
			t[s][c] = side6*r + k
		}
	}
	return t
}()

func image6(m uint64, s int) (out uint64) {
	for ; m != 0; m &= m - 1 {
		out |= 1 << symmetries6[s][bits.TrailingZeros64(m)]
	}
	return out
}

func (b board6) image(s int) board6 { return board6{own: image6(b.own, s), opp: image6(b.opp, s)} }

// canonical is the key of the position's orbit under the symmetries.
func (b board6) canonical() uint64 {
	least := b
	for s := range symmetries6 {
		if i := b.image(s); i.own < least.own || i.own == least.own && i.opp < least.opp {
			least = i
		}
	}
	return data.Mix(least.own, least.opp)
}

// Values of a position for the side to move: the final lead in discs times disc6 where the game was searched to its end, else a
// judgement that is smaller than the least of them.
const (
	disc6    = 1000
	inf6     = disc6 * (cells6 + 1)
	endgame6 = 8 // free cells from which a position is searched to its end
)

var (
	corners6 = cell6(0, 0) | cell6(0, 5) | cell6(5, 0) | cell6(5, 5)
	// beside6 are the cells that give the opponent a corner.
	beside6 = cell6(1, 1) | cell6(1, 4) | cell6(4, 1) | cell6(4, 4)
)

// judge6 values corners, freedom to move and the cells beside corners.
func judge6(b board6) int {
	count := func(m uint64) int { return bits.OnesCount64(b.own&m) - bits.OnesCount64(b.opp&m) }
	mobility := bits.OnesCount64(b.moves()) - bits.OnesCount64(b.passed().moves())
	return 40*count(corners6) - 12*count(beside6) + 6*mobility
}

// value6 searches a position depth plies deep, or to the end of the game where few cells are free: its value if that lies between
// alpha and beta, else a bound on the respective side.
func value6(b board6, depth, alpha, beta int) int {
	moves := b.moves()
	if moves == 0 {
		if b.passed().moves() == 0 {
			return disc6 * b.lead()
		}
		return -value6(b.passed(), depth, -beta, -alpha)
	}
	if depth <= 0 && b.free() > endgame6 {
		return judge6(b)
	}
	best := -inf6
	for _, part := range [3]uint64{moves & corners6, moves &^ (corners6 | beside6), moves & beside6} {
		for ; part != 0; part &= part - 1 {
			v := -value6(b.place(bits.TrailingZeros64(part)), depth-1, -beta, -max(alpha, best))
			if best = max(best, v); best >= beta {
				return best
			}
		}
	}
	return best
}

// best6 returns all moves of the highest value; 0 where the side to move must pass.
func best6(b board6, depth int) (best uint64) {
	value := -inf6
	for moves := b.moves(); moves != 0; moves &= moves - 1 {
		c := bits.TrailingZeros64(moves)
		// A move as good as the best so far is measured exactly, a worse one only refuted.
		v := -value6(b.place(c), depth-1, -inf6, -(value - 1))
		if v > value {
			value, best = v, 0
		}
		if v == value {
			best |= 1 << c
		}
	}
	return best
}
