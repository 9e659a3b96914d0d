package student

import (
	"slices"
	"sync"
	"testing"
)

// onThreads decodes one sequence for each item.
type onThreads struct {
	m    *Model
	mu   sync.Mutex
	seen []int
	got  [][]float32
}

func (o *onThreads) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		s, err := o.m.NewSession(1)
		if err != nil {
			continue
		}
		l, err := s.Prefill(0, []int32{1, 2, int32(i)})
		if err != nil {
			continue
		}
		o.mu.Lock()
		o.seen = append(o.seen, i)
		o.got[i] = slices.Clone(l)
		o.mu.Unlock()
	}
}

func TestRun(t *testing.T) {
	w := randomWeights(edgeConfig(), 1)
	one, two := &onThreads{m: newModel(t, w, Options{}), got: make([][]float32, 20)}, &onThreads{m: newModel(t, w, Options{Threads: 2}), got: make([][]float32, 20)}
	one.m.Run(20, 1, one)
	two.m.Run(20, 1, two)
	slices.Sort(two.seen)
	for i := range 20 {
		if len(two.seen) != 20 || two.seen[i] != i || sameBits(one.got[i], two.got[i]) >= 0 || one.got[i] == nil {
			t.Fatalf("item %d: ran %v", i, two.seen)
		}
	}
}
