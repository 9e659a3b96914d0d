package task

import "math/bits"

// board3 is a tictactoe position seen by the side to move: one bit per cell,
// row by row from the top left, for its own stones and for the other side's.
// Whoever has fewer stones, or as many, is to move, so the pair holds the whole
// position.
type board3 struct{ own, opp uint16 }

const full3 = 1<<9 - 1

var lines3 = [8]uint16{
	0b000_000_111, 0b000_111_000, 0b111_000_000,
	0b001_001_001, 0b010_010_010, 0b100_100_100,
	0b100_010_001, 0b001_010_100,
}

// symmetries3[s][c] is where symmetry s of the square takes cell c.
var symmetries3 = func() (t [8][9]int) {
	for s := range t {
		for c := range 9 {
			row, col := c/3, c%3
			if s&1 != 0 {
				col = 2 - col
			}
			if s&2 != 0 {
				row = 2 - row
			}
			if s&4 != 0 {
				row, col = col, row
			}
			t[s][c] = 3*row + col
		}
	}
	return t
}()

func hasLine3(stones uint16) bool {
	for _, l := range lines3 {
		if stones&l == l {
			return true
		}
	}
	return false
}

func (b board3) empty() uint16 { return full3 &^ (b.own | b.opp) }

// play puts a stone of the side to move on cell c.
func (b board3) play(c int) board3 { return board3{own: b.opp, opp: b.own | 1<<c} }

func (b board3) over() outcome {
	switch {
	case hasLine3(b.opp):
		return lost
	case b.empty() == 0:
		return drawn
	}
	return ongoing
}

// index is the position in base 3: 0 empty, 1 own, 2 the other side's.
func (b board3) index() int {
	i := 0
	for c := 8; c >= 0; c-- {
		i = 3*i + int(b.own>>c&1) + 2*int(b.opp>>c&1)
	}
	return i
}

// canonical is the least index among the position's eight symmetric images.
func (b board3) canonical() int {
	least := b.index()
	for s := 1; s < len(symmetries3); s++ {
		least = min(least, b.transform(s).index())
	}
	return least
}

func (b board3) transform(s int) board3 {
	var t board3
	for c, to := range symmetries3[s] {
		t.own |= b.own >> c & 1 << to
		t.opp |= b.opp >> c & 1 << to
	}
	return t
}

const unreached3 = -128

// solution3 is tictactoe, solved.
type solution3 struct {
	reachable []board3 // in the order of play, then of discovery
	// value by index for the side to move: 10-n if it wins with the n-th stone
	// on the board, 0 for a draw, n-10 if it loses to the n-th stone;
	// unreached3 where play cannot lead. A greater value is a quicker win or a
	// longer defence.
	value [19683]int8
}

// solve3 visits every reachable position breadth first, then values them
// backwards, so each child is valued before its parents.
func solve3() *solution3 {
	s := &solution3{reachable: []board3{{}}}
	for i := range s.value {
		s.value[i] = unreached3
	}
	seen := map[board3]bool{{}: true}
	for i := 0; i < len(s.reachable); i++ {
		b := s.reachable[i]
		if b.over() != ongoing {
			continue
		}
		for e := b.empty(); e != 0; e &= e - 1 {
			if n := b.play(bits.TrailingZeros16(e)); !seen[n] {
				seen[n] = true
				s.reachable = append(s.reachable, n)
			}
		}
	}
	for i := len(s.reachable) - 1; i >= 0; i-- {
		b := s.reachable[i]
		switch b.over() {
		case lost:
			s.value[b.index()] = int8(bits.OnesCount16(b.own|b.opp)) - 10
		case drawn:
			s.value[b.index()] = 0
		default:
			s.value[b.index()], _ = s.best(b)
		}
	}
	return s
}

// best returns the value of an undecided position and the set of cells that
// keep it.
func (s *solution3) best(b board3) (value int8, cells uint16) {
	value = unreached3
	for e := b.empty(); e != 0; e &= e - 1 {
		c := bits.TrailingZeros16(e)
		v := -s.value[b.play(c).index()]
		if v > value {
			value, cells = v, 0
		}
		if v == value {
			cells |= 1 << c
		}
	}
	return value, cells
}
