package task

import "math/bits"

const (
	cols4   = 7
	rows4   = 6
	cells4  = cols4 * rows4
	stride4 = rows4 + 1 // bits per column: six cells and a guard bit
)

// board4 is a connect4 position seen by the side to move: bit 7·column+row,
// rows from the bottom, of its own stones and of all stones. The guard bit on
// top of each column keeps shifted lines from wrapping (Tromp's layout).
type board4 struct{ own, all uint64 }

var (
	bottom4 = func() (m uint64) {
		for c := range cols4 {
			m |= 1 << (c * stride4)
		}
		return m
	}()
	boardMask4 = bottom4 * (1<<rows4 - 1)
)

func column4(c int) uint64 { return (1<<rows4 - 1) << (c * stride4) }

func (b board4) stones() int { return bits.OnesCount64(b.all) }

// playable is the lowest free cell of every column that is not full.
func (b board4) playable() uint64 { return (b.all + bottom4) & boardMask4 }

// drop plays a cell of playable.
func (b board4) drop(cell uint64) board4 { return board4{own: b.own ^ b.all, all: b.all | cell} }

// key identifies the position: own marks the stones, the added mask puts a one
// above the top stone of each column.
func (b board4) key() uint64 { return b.own + b.all + bottom4 }

func (b board4) mirrored() board4 { return board4{own: mirror4(b.own), all: mirror4(b.all)} }

func mirror4(m uint64) uint64 {
	var out uint64
	for c := range cols4 {
		out |= m >> (c * stride4) & (1<<stride4 - 1) << ((cols4 - 1 - c) * stride4)
	}
	return out
}

func (b board4) canonical() uint64 { return min(b.key(), b.mirrored().key()) }

// directions4 are the bit distances of neighbours in a line: up, right and the
// two diagonals.
var directions4 = [4]int{1, stride4, stride4 - 1, stride4 + 1}

func hasFour(stones uint64) bool {
	for _, d := range directions4 {
		pairs := stones & (stones >> d)
		if pairs&(pairs>>(2*d)) != 0 {
			return true
		}
	}
	return false
}

func (b board4) over() outcome {
	switch {
	case hasFour(b.own ^ b.all):
		return lost
	case b.all == boardMask4:
		return drawn
	}
	return ongoing
}

// completing returns the free cells that would complete four of the given
// stones, whether or not a stone can be dropped there yet (after Pons, Solving
// Connect Four).
func completing(stones, all uint64) uint64 {
	r := stones << 1 & (stones << 2) & (stones << 3) // vertical: only upwards
	for _, d := range directions4[1:] {
		p := stones << d & (stones << (2 * d))
		r |= p & (stones << (3 * d)) // xxx_
		r |= p & (stones >> d)       // xx_x
		p = stones >> d & (stones >> (2 * d))
		r |= p & (stones << d)       // x_xx
		r |= p & (stones >> (3 * d)) // _xxx
	}
	return r & (boardMask4 ^ all)
}
