package session

import (
	"sync"
	"sync/atomic"
)

// Rotary holds the cosines and sines of rotary positions as far as sequences have grown: those of a context of a million
// positions are not made for a text of a hundred. It is safe for concurrent use.
type Rotary struct {
	limit int
	table func(positions int) (cos, sin []float32)
	mu    sync.Mutex
	now   atomic.Pointer[rotaryTable]
}

type rotaryTable struct {
	positions int
	cos, sin  []float32
}

// firstPositions are made at once: short contexts never wait for more.
const firstPositions = 1024

// NewRotary returns tables of up to limit positions. table computes those of the first positions, [positions,D/2] each; the row of
// a position does not depend on how many follow.
func NewRotary(limit int, table func(positions int) (cos, sin []float32)) *Rotary {
	r := &Rotary{limit: limit, table: table}
	r.make(min(limit, firstPositions))
	return r
}

// UpTo returns tables that hold the first n positions at least.
func (r *Rotary) UpTo(n int) (cos, sin []float32) {
	t := r.now.Load()
	if t.positions < n {
		t = r.grow(n)
	}
	return t.cos, t.sin
}

func (r *Rotary) grow(n int) *rotaryTable {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.now.Load(); t.positions >= n {
		return t // another thread was faster
	}
	return r.make(min(r.limit, max(n, 2*r.now.Load().positions)))
}

func (r *Rotary) make(positions int) *rotaryTable {
	t := &rotaryTable{positions: positions}
	t.cos, t.sin = r.table(positions)
	r.now.Store(t)
	return t
}
