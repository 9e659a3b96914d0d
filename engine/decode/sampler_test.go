package decode

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/kernels/vec"
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

// TestSampledTokens pins draws: what a device draws from the same logits and seed.
func TestSampledTokens(t *testing.T) {
	logits := make([]float32, 40)
	for i := range logits {
		logits[i] = float32(i*i%17) / 4
	}
	for _, tc := range []struct {
		o    Sampling
		want []int32
	}{
		{Sampling{Temperature: 1, Seed: 1}, []int32{24, 4, 24, 21, 13, 30, 38, 13, 5, 27, 21, 4}},
		{Sampling{Temperature: 0.7, TopK: 9, Seed: 1<<32 | 2}, []int32{38, 7, 10, 13, 21, 4, 7, 10, 13, 4, 13, 24}},
		{Sampling{Temperature: 1.3, TopP: 0.9, Seed: 4}, []int32{12, 7, 4, 9, 30, 9, 29, 27, 10, 37, 7, 4}},
		{Sampling{Temperature: 2, TopK: 30, TopP: 0.95, MinP: 0.2, Seed: 5}, []int32{12, 27, 30, 4, 21, 31, 7, 38, 37, 26, 24, 38}},
	} {
		s := must(NewSampler(tc.o))
		var got []int32
		for range 12 {
			got = append(got, must(s.Next(logits)))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %#v, want %v", tc.o, got, tc.want)
		}
	}
}

// specDraw is §7 of SPEC.md for tokens that are all allowed, by repeated selection.
func specDraw(logits []float32, o Sampling, random uint32) int32 {
	best := slices.Max(logits)
	w := make([]uint64, len(logits))
	for i, l := range logits {
		w[i] = uint64(vec.Exp1((l-best)/float32(o.Temperature)) * (1 << 24))
	}
	// ranked are the tokens by falling weight.
	var ranked []int
	for range w {
		next := -1
		for i := range w {
			if !slices.Contains(ranked, i) && (next < 0 || w[i] > w[next]) {
				next = i
			}
		}
		ranked = append(ranked, next)
	}
	if o.TopK > 0 && o.TopK < len(ranked) {
		ranked = ranked[:o.TopK]
	}
	sum := new(big.Int)
	for _, i := range ranked {
		sum.Add(sum, new(big.Int).SetUint64(w[i]))
	}
	if p := float32(o.TopP); p > 0 && p < 1 {
		goal := new(big.Int).Mul(sum, big.NewInt(int64(p*(1<<24))))
		goal.Rsh(goal, 24)
		sum.SetInt64(0)
		for n, i := range ranked {
			if sum.Add(sum, new(big.Int).SetUint64(w[i])); sum.Cmp(goal) >= 0 {
				ranked = ranked[:n+1]
				break
			}
		}
	}
	if m := float32(o.MinP); m > 0 {
		ranked = slices.DeleteFunc(ranked, func(i int) bool { return w[i] < uint64(m*(1<<24)) })
	}
	sum.SetInt64(0)
	for _, i := range ranked {
		sum.Add(sum, new(big.Int).SetUint64(w[i]))
	}
	d := new(big.Int).Mul(sum, big.NewInt(int64(random)))
	d.Rsh(d, 32)
	slices.Sort(ranked)
	sum.SetInt64(0)
	for _, i := range ranked {
		if sum.Add(sum, new(big.Int).SetUint64(w[i])); sum.Cmp(d) > 0 {
			return int32(i)
		}
	}
	return -1
}

func TestSamplingIsTheSpec(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 3000 {
		logits := make([]float32, 1+rng.IntN(70))
		for i := range logits {
			logits[i] = float32(rng.NormFloat64()*4 + 1)
			if i > 0 && rng.IntN(4) == 0 {
				logits[i] = logits[rng.IntN(i)] // ties
			}
		}
		o := Sampling{Temperature: []float64{0.01, 0.7, 1, 30}[rng.IntN(4)], TopK: rng.IntN(3) * rng.IntN(20), Seed: rng.Uint64()}
		o.TopP, o.MinP = float64(rng.IntN(3))*rng.Float64()/2, float64(rng.IntN(2))*rng.Float64()
		s := must(NewSampler(o))
		random := must(NewSampler(o)).random()
		if got, want := must(s.Next(logits)), specDraw(logits, o, random); got != want {
			t.Fatalf("%+v of %v: %d, the specification says %d", o, logits, got, want)
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
