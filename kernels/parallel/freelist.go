package parallel

import "sync"

// FreeList keeps objects for reuse. Unlike sync.Pool it does not lose them at a collection: steady state allocates
// nothing. Its methods may be called from several goroutines. Fresh and Wipe are set before the first use.
type FreeList[T any] struct {
	Fresh func() *T // makes an object when none is free
	Wipe  func(*T)  // drops references to the caller's memory; nil where there are none

	mu   sync.Mutex
	free []*T
}

// Get returns a free object, or a fresh one. It is the caller's until Put.
func (l *FreeList[T]) Get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return l.Fresh()
	}
	x := l.free[n-1]
	l.free = l.free[:n-1]
	return x
}

// Put wipes x and keeps it for a later Get.
func (l *FreeList[T]) Put(x *T) {
	if l.Wipe != nil {
		l.Wipe(x)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, x)
}
