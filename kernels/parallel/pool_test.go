package parallel

import (
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type countTask struct {
	hits  []atomic.Int32
	grain int
	n     int
	bad   atomic.Int32
}

func (c *countTask) Do(lo, hi int) {
	if lo%c.grain != 0 || (hi != c.n && (hi-lo)%c.grain != 0) || lo >= hi {
		c.bad.Add(1)
	}
	for i := lo; i < hi; i++ {
		c.hits[i].Add(1)
	}
}

func pools(t *testing.T) map[string]*Pool {
	m := map[string]*Pool{"nil": nil}
	for name, n := range map[string]int{"1": 1, "2": 2, "3": 3, "8": 8} {
		m[name] = New(n)
		t.Cleanup(m[name].Close)
	}
	return m
}

func TestEveryItemOnce(t *testing.T) {
	for name, p := range pools(t) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 3, 7, 8, 31, 32, 33, 1000, 4097} {
				for _, grain := range []int{0, 1, 2, 6, 64, 5000} {
					c := &countTask{hits: make([]atomic.Int32, n), grain: max(grain, 1), n: n}
					p.Run(n, grain, c)
					for i := range c.hits {
						if got := c.hits[i].Load(); got != 1 {
							t.Fatalf("n %d grain %d: item %d computed %d times", n, grain, i, got)
						}
					}
					if c.bad.Load() != 0 {
						t.Fatalf("n %d grain %d: a range is not cut at the grain", n, grain)
					}
				}
			}
		})
	}
}

// plainTask writes without atomics, so the race detector proves that a run happens before its return.
type plainTask struct {
	v    []int
	step int
}

func (p *plainTask) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		p.v[i] += p.step
	}
}

func TestRunIsABarrier(t *testing.T) {
	p := New(3)
	defer p.Close()
	task := &plainTask{v: make([]int, 257)}
	want := 0
	for step := range 3000 {
		task.step = step
		p.Run(len(task.v), 1+step%9, task)
		want += step
		if step%500 == 0 {
			runtime.Gosched() // let workers park now and then
		}
	}
	for i, v := range task.v {
		if v != want {
			t.Fatalf("item %d: got %d want %d", i, v, want)
		}
	}
}

type nested struct {
	p     *Pool
	inner *countTask
}

func (n *nested) Do(lo, hi int) {
	for range hi - lo {
		n.p.Run(len(n.inner.hits), 1, n.inner)
	}
}

func TestNestedAndConcurrentRuns(t *testing.T) {
	p := New(4)
	defer p.Close()
	inner := &countTask{hits: make([]atomic.Int32, 50), grain: 1, n: 50}
	p.Run(20, 1, &nested{p, inner})
	var wg sync.WaitGroup
	for range 5 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 20 {
				p.Run(len(inner.hits), 1, inner)
			}
		}()
	}
	wg.Wait()
	for i := range inner.hits {
		if got := inner.hits[i].Load(); got != 120 {
			t.Fatalf("item %d computed %d times, want 120", i, got)
		}
	}
}

type panics struct{}

func (panics) Do(lo, hi int) {
	if lo <= 5 && 5 < hi {
		panic("item five")
	}
}

func TestPanicReachesCaller(t *testing.T) {
	p := New(3)
	defer p.Close()
	func() {
		defer func() {
			if s, ok := recover().(string); !ok || !strings.Contains(s, "item five") {
				t.Errorf("recovered %q", s)
			}
		}()
		p.Run(64, 1, panics{})
		t.Error("no panic")
	}()
	c := &countTask{hits: make([]atomic.Int32, 9), grain: 1, n: 9}
	p.Run(9, 1, c)
	for i := range c.hits {
		if c.hits[i].Load() != 1 {
			t.Fatal("the pool is not usable after a panic")
		}
	}
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(5)
	p.Run(10, 1, &plainTask{v: make([]int, 10)})
	p.Close()
	p.Close()
	// A goroutine that has said so may still be on its last instructions.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after Close", before, runtime.NumGoroutine())
		}
	}
	task := &plainTask{v: make([]int, 10), step: 1}
	p.Run(10, 1, task)
	if task.v[9] != 1 {
		t.Error("a run after Close computed nothing")
	}
}

func TestThreads(t *testing.T) {
	if (*Pool)(nil).Threads() != 1 {
		t.Error("a nil pool has one thread")
	}
	p := New(0)
	defer p.Close()
	if p.Threads() != runtime.GOMAXPROCS(0) {
		t.Errorf("got %d threads, want GOMAXPROCS", p.Threads())
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := New(2)
	defer p.Close()
	task := &plainTask{v: make([]int, 64), step: 1}
	if n := testing.AllocsPerRun(100, func() { p.Run(64, 1, task) }); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

func BenchmarkRun(b *testing.B) {
	p := New(2)
	defer p.Close()
	task := &plainTask{v: make([]int, 64), step: 1}
	for b.Loop() {
		p.Run(64, 1, task)
	}
}

// A number of threads that no machine has is bounded, and none hangs.
func TestMaxThreads(t *testing.T) {
	p := New(math.MaxInt)
	defer p.Close()
	if p.Threads() != MaxThreads {
		t.Errorf("%d threads, want %d", p.Threads(), MaxThreads)
	}
}
