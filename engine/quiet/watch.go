package quiet

import (
	"context"
	"runtime"
	"time"
)

// Watch measures again what other programs disturbed, as long as there is patience.
type Watch struct {
	// Patience is how long, in all, disturbed measurements may take; it is used up by them. What is disturbed when none
	// is left is kept.
	Patience time.Duration

	Clock func() (Load, bool) // nil is Read
	Pause func()              // between disturbed measurements; nil waits 200 ms
}

const pauseTime = 200 * time.Millisecond

// Measure runs f, which takes processors for so many threads, until nobody disturbs it or the patience is at its end, and
// says whether the last time was disturbed. The errors are ctx's and f's.
func (w *Watch) Measure(ctx context.Context, threads int, f func() error) (disturbed bool, err error) {
	clock, pause := w.Clock, w.Pause
	if clock == nil {
		clock = Read
	}
	if pause == nil {
		pause = func() {
			select {
			case <-ctx.Done():
			case <-time.After(pauseTime):
			}
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		began := time.Now()
		before, known := clock()
		if err := f(); err != nil {
			return false, err
		}
		after, _ := clock()
		disturbed := known && Disturbs(after.Others(before), threads, runtime.NumCPU())
		if !disturbed || w.Patience <= 0 {
			return disturbed, nil
		}
		pause()
		w.Patience -= time.Since(began)
	}
}
