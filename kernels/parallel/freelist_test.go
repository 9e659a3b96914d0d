package parallel

import (
	"sync"
	"sync/atomic"
	"testing"
)

type area struct {
	users atomic.Int32
	lent  []float32
	own   []float32
}

func TestFreeListReusesAndWipes(t *testing.T) {
	made := 0
	l := FreeList[area]{
		Fresh: func() *area { made++; return &area{own: make([]float32, 3)} },
		Wipe:  func(a *area) { a.lent = nil },
	}
	a := l.Get()
	a.lent, a.own[0] = make([]float32, 1), 7
	b := l.Get()
	if a == b || made != 2 {
		t.Fatalf("one object was given to two users, or %d were made for two", made)
	}
	l.Put(a)
	if c := l.Get(); c != a || c.lent != nil || c.own[0] != 7 {
		t.Errorf("got %p with %v and %v, want %p wiped of what was lent and with its own memory", c, c.lent, c.own, a)
	}
	if made != 2 {
		t.Errorf("%d objects made, want 2", made)
	}
	plain := FreeList[area]{Fresh: func() *area { return new(area) }}
	a = plain.Get()
	plain.Put(a)
	if plain.Get() != a {
		t.Error("without Wipe the object is not reused")
	}
}

// An object never has two users at once. The race detector sees this test too.
func TestFreeListSharesNothing(t *testing.T) {
	l := FreeList[area]{Fresh: func() *area { return new(area) }}
	var bad atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				a := l.Get()
				if a.users.Add(1) != 1 {
					bad.Add(1)
				}
				a.users.Add(-1)
				l.Put(a)
			}
		})
	}
	wg.Wait()
	if bad.Load() != 0 {
		t.Errorf("%d times an object had two users", bad.Load())
	}
}
