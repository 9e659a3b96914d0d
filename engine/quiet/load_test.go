package quiet

import (
	"math"
	"testing"
)

func TestParseLoad(t *testing.T) {
	stat := "cpu  10 1 5 80 2 1 1 0 7 7\ncpu0 9 9 9 9 9 9 9 9 9 9\n"
	self := "4242 (a (strange) name) R 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 5 0\n"
	l, ok := parseLoad(stat, self)
	if want := (Load{Total: 100, Busy: 18, Own: 42}); !ok || l != want {
		t.Errorf("%+v, %v, want %+v", l, ok, want)
	}
	for _, bad := range [][2]string{{"", self}, {stat, ""}, {"cpu 1 2 x 4 5 6\n", self}, {stat, "1 (n) R 1 2 3"}, {"intr 1 2 3 4 5 6", self}} {
		if _, ok := parseLoad(bad[0], bad[1]); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestOthers(t *testing.T) {
	before := Load{Total: 1000, Busy: 300, Own: 100}
	for _, c := range []struct {
		after Load
		want  float64
	}{
		{Load{1200, 400, 200}, 0},     // all of it was this process
		{Load{1200, 401, 200}, 0},     // a tick is no proof
		{Load{1200, 441, 200}, 0.2},   // 41 ticks of 200
		{Load{1200, 390, 200}, 0},     // the clocks do not tick together
		{Load{1000, 300, 100}, 0},     // no time passed
		{Load{1200, 500, 100}, 0.995}, // all of it was others
	} {
		if got := c.after.Others(before); math.Abs(got-c.want) > 1e-12 {
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
		if got := Disturbs(c.others, c.threads, c.n); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
