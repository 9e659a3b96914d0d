package task

import (
	"context"
	"math/bits"
)

// Values of a position for the side to move. A proven win with the n-th stone
// on the board is worth win4+42-n and a proven loss the negative of that, so a
// quicker win is worth more. Judgements are smaller than win4.
const (
	win4 = 1000
	inf4 = 10_000
)

func winValue4(stones int) int { return win4 + cells4 - stones }

func proven4(v int) bool { return v >= win4 || v <= -win4 }

const (
	tableBits4 = 14
	tableSize4 = 1 << tableBits4
)

type bound4 uint8

const (
	exact4 bound4 = 1 + iota
	lower4
	upper4
)

type entry4 struct {
	key   uint64
	value int16
	depth uint8
	bound bound4
}

// search4 is an alpha-beta searcher with a transposition table. The value of a
// position at a depth is a pure function of both, and entries serve their own
// depth only, so what was searched before never changes a result. Not safe for
// concurrent use.
type search4 struct {
	table   [tableSize4]entry4
	nodes   int64
	ctx     context.Context // nil for a search that runs to its end
	stopped bool            // ctx was done: values mean nothing until the next reset
}

// pollNodes4 is how often a search looks whether it is to stop: at some million
// nodes a second, every millisecond or so.
const pollNodes4 = 1 << 12

// until makes the search stop when ctx is done.
func (s *search4) until(ctx context.Context) *search4 {
	s.ctx, s.stopped = ctx, false
	return s
}

// verdict4 is the result of a search.
type verdict4 struct {
	value int
	best  uint64 // cells of all moves with that value
	exact bool   // value and best hold for perfect play to the end
}

// endgame4 is the number of free cells from which a position is always
// searched to its end: on average that costs no more than a search of eight
// plies does.
const endgame4 = 20

// analyse searches an undecided position depth plies deep, or to the end of
// the game if that is nearer than endgame4 plies. depth is at least 1. The
// verdict of a search that was stopped means nothing, but that best holds legal
// moves.
func (s *search4) analyse(b board4, depth int) verdict4 {
	left := cells4 - b.stones()
	if left <= endgame4 {
		depth = left
	}
	depth = min(depth, left)
	if wins := completing(b.own, b.all) & b.playable(); wins != 0 {
		return verdict4{value: winValue4(b.stones() + 1), best: wins, exact: true}
	}
	v := verdict4{value: -inf4}
	for _, cell := range ordered4(b, b.playable()) {
		if cell == 0 {
			break
		}
		// The window's lower end is just below the best value so far: a move as
		// good is measured exactly, a worse one only refuted.
		child := -s.negamax(b.drop(cell), depth-1, -inf4, -(v.value - 1))
		if child > v.value {
			v.value, v.best = child, 0
		}
		if child == v.value {
			v.best |= cell
		}
	}
	if s.stopped {
		return verdict4{best: b.playable()}
	}
	v.exact = proven4(v.value) || depth == left
	return v
}

// negamax returns the value of b searched depth plies deep if it lies between
// alpha and beta, else a bound on the respective side. The opponent has no
// four in a row.
func (s *search4) negamax(b board4, depth, alpha, beta int) int {
	if s.nodes++; s.nodes%pollNodes4 == 0 && s.ctx != nil && s.ctx.Err() != nil {
		s.stopped = true
	}
	stones := b.stones()
	if stones == cells4 {
		return 0
	}
	if depth == 0 {
		return judge4(b)
	}
	playable := b.playable()
	if completing(b.own, b.all)&playable != 0 {
		return winValue4(stones + 1)
	}
	if depth >= 2 {
		// Every move that lets the opponent win at once has the least value
		// there is here, so only the others matter while there are any.
		theirs := completing(b.own^b.all, b.all)
		safe := playable
		if forced := theirs & playable; forced != 0 {
			if forced&(forced-1) != 0 {
				safe = 0
			} else {
				safe = forced
			}
		}
		safe &^= theirs >> 1 // a stone below a winning cell opens it
		if safe == 0 && stones+1 < cells4 {
			return -winValue4(stones + 2)
		}
		if safe != 0 {
			playable = safe
		}
		if most := winValue4(stones + 3); beta > most {
			if beta = most; alpha >= beta {
				return beta
			}
		}
	}
	key := b.key()
	entry := &s.table[key*0x9e3779b97f4a7c15>>(64-tableBits4)]
	if entry.key == key && int(entry.depth) == depth {
		v := int(entry.value)
		switch {
		case entry.bound == exact4,
			entry.bound == lower4 && v >= beta,
			entry.bound == upper4 && v <= alpha:
			return v
		}
	}
	best, low := -inf4, alpha
	for _, cell := range ordered4(b, playable) {
		if cell == 0 {
			break
		}
		if s.stopped {
			break
		}
		v := -s.negamax(b.drop(cell), depth-1, -beta, -low)
		if v > best {
			best = v
		}
		if low = max(low, best); low >= beta {
			break
		}
	}
	if s.stopped { // the table keeps true values only
		return best
	}
	bound := exact4
	if best <= alpha {
		bound = upper4
	} else if best >= beta {
		bound = lower4
	}
	*entry = entry4{key: key, value: int16(best), depth: uint8(depth), bound: bound}
	return best
}

// centreFirst4 is the order in which columns are tried before threats count.
var centreFirst4 = [cols4]int{3, 2, 4, 1, 5, 0, 6}

// ordered4 returns the moves by falling number of winning cells that they
// create, the centre first among equals, followed by zeros.
func ordered4(b board4, moves uint64) [cols4]uint64 {
	var cells [cols4]uint64
	var scores [cols4]int
	n := 0
	for _, c := range centreFirst4 {
		cell := moves & column4(c)
		if cell == 0 {
			continue
		}
		score := bits.OnesCount64(completing(b.own|cell, b.all|cell))
		i := n
		for ; i > 0 && scores[i-1] < score; i-- {
			cells[i], scores[i] = cells[i-1], scores[i-1]
		}
		cells[i], scores[i] = cell, score
		n++
	}
	return cells
}

var (
	// Rows 3 and 5 (from 1 at the bottom) favour the first player's threats,
	// even rows the second's: with both avoiding the cell below, that is who
	// gets to play there (Allis 1988, A Knowledge-based Approach of
	// Connect-Four).
	oddRows4  = bottom4 * 0b010101
	evenRows4 = bottom4 * 0b101010
	centre4   = column4(3)
	nearby4   = column4(2) | column4(4)
)

// judge4 estimates a position by the open threats and the central stones of
// both sides. It is a judgement, always below win4, and never counts as proof.
func judge4(b board4) int {
	opp := b.own ^ b.all
	mine, theirs := oddRows4, evenRows4
	if b.stones()%2 == 1 {
		mine, theirs = evenRows4, oddRows4
	}
	mt, tt := completing(b.own, b.all), completing(opp, b.all)
	v := 8 * (bits.OnesCount64(mt) - bits.OnesCount64(tt))
	v += 4 * (bits.OnesCount64(mt&mine) - bits.OnesCount64(tt&theirs))
	v += 2 * (bits.OnesCount64(b.own&centre4) - bits.OnesCount64(opp&centre4))
	v += bits.OnesCount64(b.own&nearby4) - bits.OnesCount64(opp&nearby4)
	return v
}
