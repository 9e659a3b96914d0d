package decode

import (
	"errors"
	"math"
	"slices"
	"testing"
)

var (
	nan  = float32(math.NaN())
	inf  = float32(math.Inf(1))
	ninf = float32(math.Inf(-1))
)

// logitsOf returns logits whose softmax has the given probabilities.
func logitsOf(p ...float64) []float32 {
	l := make([]float32, len(p))
	for i := range p {
		l[i] = float32(math.Log(p[i])) + 3
	}
	return l
}

func TestDistribution(t *testing.T) {
	skewed := logitsOf(0.1, 0.4, 0.2, 0.3)
	flat := []float32{1, 1, 1, 1}
	for _, tc := range []struct {
		name    string
		o       Sampling
		logits  []float32
		allowed []bool
		want    map[int32]float64
	}{
		{"plain", Sampling{Temperature: 1}, skewed, nil, map[int32]float64{0: .1, 1: .4, 2: .2, 3: .3}},
		{"hot", Sampling{Temperature: 2}, logitsOf(1./26, 9./26, 16./26), nil, map[int32]float64{0: 1. / 8, 1: 3. / 8, 2: 4. / 8}},
		{"cold", Sampling{Temperature: 0.5}, logitsOf(1./6, 2./6, 3./6), nil, map[int32]float64{0: 1. / 14, 1: 4. / 14, 2: 9. / 14}},
		{"nearly greedy", Sampling{Temperature: 1e-6}, skewed, nil, map[int32]float64{1: 1}},
		{"greedy", Sampling{TopK: 3}, skewed, nil, map[int32]float64{1: 1}},
		{"greedy tie", Sampling{}, flat, nil, map[int32]float64{0: 1}},
		{"top-k", Sampling{Temperature: 1, TopK: 2}, skewed, nil, map[int32]float64{1: 4. / 7, 3: 3. / 7}},
		{"top-k of one", Sampling{Temperature: 1, TopK: 1}, skewed, nil, map[int32]float64{1: 1}},
		{"top-k beyond V", Sampling{Temperature: 1, TopK: 9}, skewed, nil, map[int32]float64{0: .1, 1: .4, 2: .2, 3: .3}},
		{"top-k tie", Sampling{Temperature: 1, TopK: 2}, flat, nil, map[int32]float64{0: .5, 1: .5}},
		{"top-p", Sampling{Temperature: 1, TopP: 0.65}, skewed, nil, map[int32]float64{1: 4. / 7, 3: 3. / 7}},
		{"top-p crosses", Sampling{Temperature: 1, TopP: 0.75}, skewed, nil, map[int32]float64{1: 4. / 9, 3: 3. / 9, 2: 2. / 9}},
		{"top-p tiny", Sampling{Temperature: 1, TopP: 1e-9}, skewed, nil, map[int32]float64{1: 1}},
		{"top-p one", Sampling{Temperature: 1, TopP: 1}, skewed, nil, map[int32]float64{0: .1, 1: .4, 2: .2, 3: .3}},
		{"top-p reached exactly", Sampling{Temperature: 1, TopP: 0.5}, flat, nil, map[int32]float64{0: .5, 1: .5}},
		{"top-p just beyond", Sampling{Temperature: 1, TopP: 0.51}, flat, nil, map[int32]float64{0: 1. / 3, 1: 1. / 3, 2: 1. / 3}},
		{"top-p after top-k", Sampling{Temperature: 1, TopK: 2, TopP: 0.5}, skewed, nil, map[int32]float64{1: 1}},
		{"min-p", Sampling{Temperature: 1, MinP: 0.6}, skewed, nil, map[int32]float64{1: 4. / 7, 3: 3. / 7}},
		{"min-p one", Sampling{Temperature: 1, MinP: 1}, flat, nil, map[int32]float64{0: .25, 1: .25, 2: .25, 3: .25}},
		{"mask", Sampling{Temperature: 1}, skewed, []bool{true, false, true}, map[int32]float64{0: 1. / 3, 2: 2. / 3}},
		{"mask and greedy", Sampling{}, skewed, []bool{true, false, true}, map[int32]float64{2: 1}},
		{"mask and top-k", Sampling{Temperature: 1, TopK: 1}, skewed, []bool{true, false, true, false}, map[int32]float64{2: 1}},
		{"minus infinity", Sampling{Temperature: 1}, []float32{ninf, 0, ninf, 0}, nil, map[int32]float64{1: .5, 3: .5}},
		{"huge", Sampling{Temperature: 1}, []float32{3e38, 3e38, -3e38}, nil, map[int32]float64{0: .5, 1: .5}},
		{"one token", Sampling{Temperature: 1, TopP: 0.9}, []float32{-5}, nil, map[int32]float64{0: 1}},
	} {
		s := must(NewSampler(tc.o))
		s.Restrict(tc.allowed)
		kept, err := s.Distribution(tc.logits)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if len(kept) != len(tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, kept, tc.want)
		}
		for _, c := range kept {
			if math.Abs(c.Prob-tc.want[c.Token]) > 1e-6 {
				t.Errorf("%s: %v, want %v", tc.name, kept, tc.want)
			}
		}
		if tok := must(s.Next(tc.logits)); tc.want[tok] == 0 {
			t.Errorf("%s: drew %d", tc.name, tok)
		}
	}
}

// TestChiSquare draws a million tokens and compares their counts with the distribution. The statistic of k degrees of
// freedom exceeds k + 5√(2k) with a probability below 1e-4; the seed is fixed.
func TestChiSquare(t *testing.T) {
	logits := logitsOf(0.05, 0.4, 0.25, 0.3)
	for name, o := range map[string]Sampling{
		"plain": {Temperature: 1, Seed: 1}, "hot": {Temperature: 3, Seed: 2}, "top-k": {Temperature: 1, TopK: 3, Seed: 3},
		"top-p": {Temperature: 0.7, TopP: 0.9, Seed: 4}, "min-p": {Temperature: 1, MinP: 0.5, Seed: 5},
	} {
		s := must(NewSampler(o))
		kept := slices.Clone(must(s.Distribution(logits)))
		counts := map[int32]float64{}
		const n = 250_000
		for range n {
			counts[must(s.Next(logits))]++
		}
		chi := 0.0
		for _, c := range kept {
			d := counts[c.Token] - n*c.Prob
			chi += d * d / (n * c.Prob)
		}
		k := float64(len(kept) - 1)
		if limit := k + 5*math.Sqrt(2*k); chi > limit || len(counts) != len(kept) {
			t.Errorf("%s: chi-square %.1f over %g degrees of freedom, limit %.1f; drew %v of %v", name, chi, k, limit, counts, kept)
		}
	}
}

func TestSamplerState(t *testing.T) {
	logits := logitsOf(0.25, 0.25, 0.25, 0.25)
	draw := func(s *Sampler) []int32 {
		out := make([]int32, 64)
		for i := range out {
			out[i] = must(s.Next(logits))
		}
		return out
	}
	a, b := must(NewSampler(Sampling{Temperature: 1, Seed: 7})), must(NewSampler(Sampling{Temperature: 1, Seed: 7}))
	first := draw(a)
	if !slices.Equal(first, draw(b)) {
		t.Fatal("equal seeds draw differently")
	}
	state := a.State()
	second := draw(a)
	if slices.Equal(first, second) {
		t.Fatal("the generator repeats itself")
	}
	b.SetState(state)
	if !slices.Equal(second, draw(b)) {
		t.Fatal("a restored state draws differently")
	}
	if slices.Equal(first, draw(must(NewSampler(Sampling{Temperature: 1, Seed: 8})))) {
		t.Fatal("different seeds draw alike")
	}
	if u := a.Uniform(); u < 0 || u >= 1 {
		t.Fatal(u)
	}
}

func TestDrawRounding(t *testing.T) {
	if got := Draw([]Candidate{{4, 0.5}, {9, 0.4999}}, 0.99999); got != 9 {
		t.Fatalf("drew %d", got)
	}
	if got := Draw([]Candidate{{4, 0.5}, {9, 0.5}}, 0.5); got != 9 {
		t.Fatalf("drew %d: shares are half open", got)
	}
}

func TestSamplerErrors(t *testing.T) {
	for _, o := range []Sampling{
		{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: 1.1}, {TopP: -0.1},
		{TopP: math.NaN()}, {MinP: 2}, {MinP: math.NaN()},
	} {
		var bad *OptionError
		if _, err := NewSampler(o); !errors.As(err, &bad) {
			t.Errorf("%+v: error %v", o, err)
		}
	}
	for _, temperature := range []float64{0, 1} {
		s := must(NewSampler(Sampling{Temperature: temperature}))
		for _, tc := range []struct {
			logits  []float32
			allowed []bool
			want    error
		}{
			{[]float32{0, nan}, nil, ErrNotFinite}, {[]float32{nan, 0}, []bool{false, true}, ErrNotFinite},
			{[]float32{0, inf}, nil, ErrNotFinite}, {[]float32{ninf, ninf}, nil, ErrNothingAllowed},
			{[]float32{0, 0}, []bool{false, false}, ErrNothingAllowed}, {[]float32{0, ninf}, []bool{false, true}, ErrNothingAllowed},
			{nil, nil, ErrNothingAllowed}, {[]float32{0, 0}, []bool{}, ErrNothingAllowed},
		} {
			s.Restrict(tc.allowed)
			if _, err := s.Next(tc.logits); !errors.Is(err, tc.want) {
				t.Errorf("temperature %g, %v, allowed %v: error %v, want %v", temperature, tc.logits, tc.allowed, err, tc.want)
			}
		}
	}
}
