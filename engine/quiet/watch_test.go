package quiet

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// What others disturb is measured again until they are quiet or the patience has run out, and what was kept says which.
func TestWatch(t *testing.T) {
	var ticks Load
	var busy []float64
	w := Watch{Patience: time.Hour, Clock: func() (Load, bool) { return ticks, true }, Pause: func() {}}
	n := 0
	measure := func() error {
		ticks.Total += 100
		ticks.Busy += 100 * busy[n]
		if n++; n == len(busy) {
			w.Patience = 0
		}
		return nil
	}
	for _, c := range []struct {
		busy      []float64
		disturbed bool
		times     int
	}{{[]float64{0.5, 0.5, 0, 0}, false, 3}, {[]float64{0.5, 0.5}, true, 2}, {[]float64{0, 0}, false, 1}} {
		w.Patience, n, busy = time.Hour, 0, c.busy
		if got, err := w.Measure(t.Context(), runtime.NumCPU(), measure); err != nil || got != c.disturbed || n != c.times {
			t.Errorf("%v: disturbed %v after %d times, %v", c.busy, got, n, err)
		}
	}
	// Patience is time that disturbed measurements took.
	w = Watch{Patience: time.Millisecond, Clock: func() (Load, bool) { ticks.Total, ticks.Busy = ticks.Total+50, ticks.Busy+50; return ticks, true }}
	w.Pause = func() { time.Sleep(time.Millisecond) }
	if got, err := w.Measure(t.Context(), runtime.NumCPU(), func() error { return nil }); err != nil || !got || w.Patience > 0 {
		t.Errorf("without patience: %v, %v, %v left", got, err, w.Patience)
	}
	w.Clock = func() (Load, bool) { ticks.Total, ticks.Busy = ticks.Total+50, ticks.Busy+50; return ticks, false }
	if got, err := w.Measure(t.Context(), 1, func() error { return nil }); err != nil || got {
		t.Errorf("without clocks: %v, %v", got, err)
	}
	failed := errors.New("failed")
	if _, err := w.Measure(t.Context(), 1, func() error { return failed }); err != failed {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Measure(ctx, 1, func() error { t.Error("measured"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
