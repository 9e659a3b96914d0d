package task

import (
	"runtime"
	"sync"
)

// parallel calls work over disjoint ranges covering [0, n) from several
// goroutines and waits. Work is handed out in small ranges because the time of
// one item (a search) varies a lot.
func parallel(n int, work func(lo, hi int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		if n > 0 {
			work(0, n)
		}
		return
	}
	grain := max(1, n/(workers*8))
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int
	)
	take := func() (lo, hi int) {
		mu.Lock()
		defer mu.Unlock()
		lo, hi = next, min(next+grain, n)
		next = hi
		return lo, hi
	}
	for range workers {
		wg.Go(func() {
			for lo, hi := take(); lo < hi; lo, hi = take() {
				work(lo, hi)
			}
		})
	}
	wg.Wait()
}
