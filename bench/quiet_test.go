package bench

import (
	"math"
	"runtime"
	"testing"
	"time"
)

func TestParseLoad(t *testing.T) {
	stat := "cpu  10 1 5 80 2 1 1 0 7 7\ncpu0 9 9 9 9 9 9 9 9 9 9\n"
	self := "4242 (a (strange) name) R 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 5 0\n"
	l, ok := parseLoad(stat, self)
	if want := (load{total: 100, busy: 18, own: 42}); !ok || l != want {
		t.Errorf("%+v, %v, want %+v", l, ok, want)
	}
	for _, bad := range [][2]string{{"", self}, {stat, ""}, {"cpu 1 2 x 4 5 6\n", self}, {stat, "1 (n) R 1 2 3"}, {"intr 1 2 3 4 5 6", self}} {
		if _, ok := parseLoad(bad[0], bad[1]); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestOthers(t *testing.T) {
	before := load{total: 1000, busy: 300, own: 100}
	for _, c := range []struct {
		after load
		want  float64
	}{
		{load{1200, 400, 200}, 0},     // all of it was this process
		{load{1200, 401, 200}, 0},     // a tick is no proof
		{load{1200, 441, 200}, 0.2},   // 41 ticks of 200
		{load{1200, 390, 200}, 0},     // the clocks do not tick together
		{load{1000, 300, 100}, 0},     // no time passed
		{load{1200, 500, 100}, 0.995}, // all of it was others
	} {
		if got := c.after.others(before); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v: %v, want %v", c.after, got, c.want)
		}
	}
}

func TestDisturbs(t *testing.T) {
	for _, c := range []struct {
		others     float64
		threads, n int
		want       bool
	}{{0.04, 2, 2, false}, {0.06, 2, 2, true}, {0.5, 1, 2, false}, {0.6, 1, 2, true}, {0.6, 0, 2, true}, {0.04, 8, 2, false}, {0.7, 4, 16, false}} {
		if got := disturbs(c.others, c.threads, c.n); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// A disturbed round is measured again, as long as there is patience.
func TestPatience(t *testing.T) {
	busy := []float64{0.5, 0.5, 0, 0.5} // of each measurement
	var ticks load
	clock := func() (load, bool) { return ticks, true }
	n := 0
	m := &meter{ctx: t.Context(), o: Options{Rounds: 2, Patience: time.Hour}, clock: clock, pause: func() {}}
	p := m.add(Result{Name: "x", Threads: runtime.NumCPU()}, func() (float64, error) {
		ticks.total += 100
		ticks.busy += 100 * busy[n]
		if n++; n == len(busy) {
			m.o.Patience = 0 // none left
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
