package task

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// parallel calls work over disjoint ranges covering [0, n) from several
// goroutines and waits. Work is handed out in small ranges because the time of
// one item (a search) varies a lot. When ctx is done no more is handed out, and
// ctx's error is returned.
func parallel(ctx context.Context, n int, work func(lo, hi int)) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	grain := max(1, n/(max(1, workers)*8))
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int
	)
	take := func() (lo, hi int) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return n, n
		}
		lo, hi = next, min(next+grain, n)
		next = hi
		return lo, hi
	}
	run := func() {
		for lo, hi := take(); lo < hi; lo, hi = take() {
			work(lo, hi)
		}
	}
	if workers <= 1 {
		run()
		return ctx.Err()
	}
	for range workers {
		wg.Go(run)
	}
	wg.Wait()
	return ctx.Err()
}

// stopped says what was under way when ctx ended it; other errors, and nil, stay as they are.
func stopped(ctx context.Context, task string, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("task: %s: stopped while its positions were labelled: %w", task, err)
	}
	return err
}

// memo keeps what was made once. What failed, as by a context that was done, is
// made again when it is next asked for. The zero value is ready.
type memo[T any] struct {
	mu   sync.Mutex
	busy chan struct{} // closed when the maker at work is done, nil without one
	made bool
	v    T
}

func (m *memo[T]) get(ctx context.Context, produce func(ctx context.Context) (T, error)) (v T, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		m.mu.Lock()
		if m.made {
			defer m.mu.Unlock()
			return m.v, nil
		}
		busy := m.busy
		if busy == nil {
			m.busy = make(chan struct{})
			m.mu.Unlock()
			break
		}
		m.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
	v, err = produce(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.v, m.made = v, true
	}
	close(m.busy)
	m.busy = nil
	return v, err
}
