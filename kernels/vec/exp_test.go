package vec

import (
	"math"
	"testing"
)

// ulps is the error of got in units of the last place of want.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, e-24)
}

func TestExpAccuracy(t *testing.T) {
	worst := 0.0
	for i := 0; i <= 2_000_000; i++ {
		x := float32(expMin) + float32(i)*(float32(expMax-expMin)/2_000_000)
		if x > expMax {
			break
		}
		worst = max(worst, ulps(Exp1(x), math.Exp(float64(x))))
	}
	t.Logf("worst error %.3f ulp", worst)
	if worst > 2 {
		t.Errorf("worst error %.3f ulp", worst)
	}
}

func TestExpEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct{ x, want float32 }{
		{0, 1}, {float32(math.Copysign(0, -1)), 1},
		{-inf, 0}, {inf, inf}, {math.Nextafter32(-87, -100), 0}, {math.Nextafter32(88, 100), inf},
		{1e-40, 1},
	} {
		if got := Exp1(c.x); math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("Exp1(%g) = %g, want %g", c.x, got, c.want)
		}
	}
	if !isNaN(Exp1(float32(math.NaN()))) {
		t.Error("NaN lost")
	}
	if y := Exp1(-87); y < minNorm {
		t.Errorf("Exp1(-87) = %g is denormal", y)
	}
	if y := Exp1(88); y > math.MaxFloat32 {
		t.Errorf("Exp1(88) = %g", y)
	}
}

// The digest of the student rests on these bits.
func TestStatedBits(t *testing.T) {
	for _, c := range []struct {
		name string
		got  float32
		want uint32
	}{
		{"Exp1(1)", Exp1(1), 0x402df854},
		{"Exp1(-1)", Exp1(-1), 0x3ebc5ab2},
		{"Log1(10)", Log1(10), 0x40135d8e},
		{"RSqrt1(2)", RSqrt1(2), 0x3f3504f3},
		{"geluK0", geluK0, 0x3fcc422a},
		{"geluK1", geluK1, 0x3d922279},
		{"geluK2", geluK2, 0x3e5b33b6},
		{"log2e", log2e, 0x3fb8aa3b},
		{"ln2Lo", ln2Lo, 0xb95e8083},
	} {
		if b := math.Float32bits(c.got); b != c.want {
			t.Errorf("%s has bits %#08x, want %#08x", c.name, b, c.want)
		}
	}
}

func TestLog(t *testing.T) {
	r := rng(t)
	worst := 0.0
	for range 1_000_000 {
		x := math.Float32frombits(uint32(0x00800000 + r.IntN(0x7f800000-0x00800000)))
		if x > 0.9 && x < 1.1 {
			continue // relative to a result near zero; checked below
		}
		worst = max(worst, ulps(Log1(x), math.Log(float64(x))))
	}
	t.Logf("worst error %.3f ulp", worst)
	if worst > 2 {
		t.Errorf("worst error %.3f ulp", worst)
	}
	for x := float32(0.9); x < 1.1; x += 1e-6 {
		near(t, "Log1", float64(Log1(x)), math.Log(float64(x)), within{0.5, 0.5})
	}
	inf := math.Inf(1)
	if Log1(1) != 0 || !math.IsInf(float64(Log1(0)), -1) || !math.IsInf(float64(Log1(float32(inf))), 1) || !isNaN(Log1(-1)) || !isNaN(Log1(float32(math.NaN()))) {
		t.Error("wrong at 1, 0, Inf, -1 or NaN")
	}
}

func TestRSqrt(t *testing.T) {
	r := rng(t)
	worst := 0.0
	for range 1_000_000 {
		x := math.Float32frombits(uint32(0x00800000 + r.IntN(0x7f800000-0x00800000)))
		worst = max(worst, ulps(RSqrt1(x), 1/math.Sqrt(float64(x))))
	}
	t.Logf("worst error %.3f ulp", worst)
	if worst > 2.5 {
		t.Errorf("worst error %.3f ulp", worst)
	}
}
