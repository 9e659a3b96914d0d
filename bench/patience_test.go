package bench

import (
	"runtime"
	"testing"
	"time"

	"mito/engine/quiet"
)

// A disturbed round is measured again, as long as there is patience.
func TestPatience(t *testing.T) {
	busy := []float64{0.5, 0.5, 0, 0.5} // of each measurement
	var ticks quiet.Load
	clock := func() (quiet.Load, bool) { return ticks, true }
	n := 0
	m := &meter{ctx: t.Context(), o: Options{Rounds: 2}, watch: quiet.Watch{Patience: time.Hour, Clock: clock, Pause: func() {}}}
	p := m.add(Result{Name: "x", Threads: runtime.NumCPU()}, func() (float64, error) {
		ticks.Total += 100
		ticks.Busy += 100 * busy[n]
		if n++; n == len(busy) {
			m.watch.Patience = 0 // none left
		}
		return float64(n), nil
	}, func() (float64, error) { return float64(n), nil })
	if err := m.measure(); err != nil {
		t.Fatal(err)
	}
	if want := []float64{3, 4}; len(p.values) != 2 || p.values[0] != want[0] || p.values[1] != want[1] || len(p.limits) != 2 || p.limits[0] != 2 {
		t.Errorf("kept %v and limits %v, want %v", p.values, p.limits, want)
	}
	if m.disturbed != 1 || m.measured != 2 {
		t.Errorf("%d of %d disturbed, want 1 of 2", m.disturbed, m.measured)
	}
}
