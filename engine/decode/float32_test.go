package decode

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/session"
)

// forward returns the logits [V] after every token by engine/model.
func forward(t *testing.T, m *model.Model, tokens []int32) [][]float32 {
	t.Helper()
	a := must(m.NewActivations(1, len(tokens), false))
	defer a.Close()
	positions := make([]int32, len(tokens))
	for i := range positions {
		positions[i] = int32(i)
	}
	b := m.Backend()
	check(t, b.Upload(a.Inputs, tokens))
	check(t, b.Upload(a.Positions, positions))
	check(t, m.Forward(a))
	flat := make([]float32, len(tokens)*m.Config.VocabSize)
	check(t, b.Download(flat, a.Logits))
	return slices.Collect(slices.Chunk(flat, m.Config.VocabSize))
}

// tolerance bounds the difference of two float32 evaluations of the same model. They differ in the order of the sums over
// positions, in where a bias enters a sum, and by an ulp in exponentials: each sub-layer perturbs its output by about
// √n·eps of its size for sums of n terms, and perturbations of the 2L+1 sub-layers, each passed on with a gain of about
// one, add up. The factor 2 covers the derivative of ReLU², which is that large at 1.
func tolerance(c arch.Config, logits []float32) float64 {
	size := 1.0
	for _, v := range logits {
		size = math.Max(size, math.Abs(float64(v)))
	}
	n := max(c.HiddenSize, c.IntermediateSize, c.Heads*c.HeadDim, c.Context)
	return 2 * float64(2*c.Layers+1) * 0x1p-24 * math.Sqrt(float64(n)) * size
}

func TestFloat32IsTheModel(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		m, w := floatModel(t, c, 1)
		r := must(NewFloat32(w, nil, Options{}))
		tokens := randomTokens(rand.New(rand.NewPCG(2, 2)), c.VocabSize, c.Context)
		want := forward(t, m, tokens)
		s := must(r.NewSession(1))
		worst := 0.0
		for i, tok := range tokens {
			got := must(s.Step([]int32{tok}))[0]
			tol := tolerance(c, want[i])
			for j, v := range got {
				d := math.Abs(float64(v) - float64(want[i][j]))
				if !(d <= tol) {
					t.Fatalf("token %d, logit %d: %v, the model says %v, tolerance %g", i, j, v, want[i][j], tol)
				}
				worst = max(worst, d/tol)
			}
		}
		if c.VocabSize > 2 && slices.Equal(want[0], want[len(want)-1]) {
			t.Fatal("the logits do not depend on the tokens: the case proves nothing")
		}
		t.Logf("largest difference: %.2g of the tolerance", worst)
		if r.Params() != m.Params.Count() {
			t.Fatalf("%d parameters, the model has %d", r.Params(), m.Params.Count())
		}
	})
}

// TestSessions appends, decodes, scores, forks and rolls back at random, in batches, with threads and on pages of several sizes, and
// compares every row of logits with a recomputation token by token on one page, bit by bit.
func TestSessions(t *testing.T) {
	for _, tc := range []struct {
		window int
		Options
	}{
		{0, Options{Threads: 1}}, {0, Options{Threads: 2, PageSize: 1}}, {5, Options{Threads: 2, PageSize: 3}}, {5, Options{Threads: 1, PageSize: 16}},
		{17, Options{Threads: 1, PageSize: 16}},
	} {
		c := edge()
		c.Window = tc.window
		_, w := floatModel(t, c, 1)
		q := studentWeights(t, c, 1)
		whole := Options{PageSize: c.Context}
		for kind, r := range map[string][2]Runtime{
			Float32: {must(NewFloat32(w, nil, tc.Options)), must(NewFloat32(w, nil, whole))},
			Int8:    {must(NewInt8(q, nil, tc.Options)), must(NewInt8(q, nil, whole))},
		} {
			t.Run(label("%s window %d %+v", kind, tc.window, tc.Options), func(t *testing.T) {
				defer r[0].Close()
				randomHistory(t, r[0], r[1])
			})
		}
	}
}

// TestWindowEdges decodes to just before, at and past the window, on pages of several sizes, in both runtimes.
func TestWindowEdges(t *testing.T) {
	for _, window := range []int{1, 4, 16, 17} {
		c := edge()
		c.Window = window
		m, w := floatModel(t, c, 1)
		q := studentWeights(t, c, 1)
		tokens := randomTokens(rand.New(rand.NewPCG(2, 2)), c.VocabSize, c.Context)
		model := forward(t, m, tokens)
		for _, page := range []int{1, 3, 16} {
			o := Options{PageSize: page}
			for kind, r := range map[string][2]Runtime{
				Float32: {must(NewFloat32(w, nil, o)), must(NewFloat32(w, nil, Options{PageSize: c.Context}))},
				Int8:    {must(NewInt8(q, nil, o)), must(NewInt8(q, nil, Options{PageSize: c.Context}))},
			} {
				for _, n := range []int{window - 1, window, window + 1, 2*window + 3} {
					if n < 1 || n > c.Context {
						continue
					}
					got := must(must(r[0].NewSession(1)).Prefill(0, tokens[:n]))
					s := must(r[1].NewSession(1))
					var want []float32
					for i := range n {
						want = must(s.Step(tokens[i : i+1]))[0]
					}
					if at := sameBits(got, want); at >= 0 {
						t.Errorf("%s, window %d, pages of %d, %d tokens: logit %d differs from one page", kind, window, page, n, at)
					}
					if kind == Float32 {
						tol := tolerance(c, model[n-1])
						for i, v := range got {
							if !(math.Abs(float64(v)-float64(model[n-1][i])) <= tol) {
								t.Errorf("window %d, pages of %d, %d tokens: logit %d is %v, the model says %v", window, page, n, i, v, model[n-1][i])
							}
						}
					}
				}
			}
		}
	}
}

func randomHistory(t *testing.T, r, whole Runtime) {
	const batch = 4
	s, fresh := must(r.NewSession(batch)), must(whole.NewSession(1))
	rng := rand.New(rand.NewPCG(5, 5))
	held := make([][]int32, batch)
	expect := func(seq int, tokens []int32, logits []float32) {
		t.Helper()
		fresh.Reset()
		var want []float32
		for _, tok := range tokens {
			want = must(fresh.Step([]int32{tok}))[0]
		}
		if at := sameBits(logits, want); at >= 0 {
			t.Fatalf("sequence %d, %d tokens: logit %d differs from the recomputation", seq, len(tokens), at)
		}
	}
	room := func(i, n int) int { return rng.IntN(min(n, r.Context()-len(held[i])+1)) }
	for range 120 {
		seq := rng.IntN(batch)
		switch rng.IntN(8) {
		case 0, 1:
			step := []int32{-1, -1, -1, -1}
			for i := range step {
				if rng.IntN(3) > 0 && len(held[i]) < r.Context() {
					step[i] = int32(rng.IntN(r.VocabSize()))
					held[i] = append(held[i], step[i])
				}
			}
			for i, l := range must(s.Step(step)) {
				if step[i] >= 0 {
					expect(i, held[i], l)
				} else if l != nil {
					t.Fatal("logits for an idle sequence")
				}
			}
		case 2:
			tokens := randomTokens(rng, r.VocabSize(), room(seq, 12))
			held[seq] = append(held[seq], tokens...)
			if l := must(s.Prefill(seq, tokens)); len(tokens) > 0 {
				expect(seq, held[seq], l)
			} else if l != nil {
				t.Fatal("logits for no token")
			}
		case 3:
			n := rng.IntN(len(held[seq]) + 1)
			if err := s.Truncate(seq, n); !errors.Is(err, session.ErrEvicted) { // a window has passed on
				check(t, err)
				held[seq] = held[seq][:n]
			}
		case 4:
			tokens := randomTokens(rng, r.VocabSize(), room(seq, 12))
			before := slices.Clone(held[seq])
			held[seq] = append(held[seq], tokens...)
			check(t, s.Score(seq, tokens, func(i int, l []float32) error {
				expect(seq, append(before[:len(before):len(before)], tokens[:i+1]...), l)
				return nil
			}))
		case 5:
			prompts := make([][]int32, batch)
			for i := range prompts {
				prompts[i] = randomTokens(rng, r.VocabSize(), room(i, 6))
				held[i] = append(held[i], prompts[i]...)
			}
			for i, l := range must(s.PrefillBatch(prompts)) {
				if len(prompts[i]) > 0 {
					expect(i, held[i], l)
				}
			}
		case 6:
			dst := rng.IntN(batch)
			held[dst] = slices.Clone(held[seq])
			check(t, s.Fork(dst, seq))
		case 7:
			more, before := make([][]int32, batch), make([][]int32, batch)
			for i := range more {
				more[i], before[i] = randomTokens(rng, r.VocabSize(), room(i, 20)), slices.Clone(held[i])
				held[i] = append(held[i], more[i]...)
			}
			check(t, s.ScoreBatch(more, func(seq, i int, l []float32) error {
				expect(seq, append(before[seq][:len(before[seq]):len(before[seq])], more[seq][:i+1]...), l)
				return nil
			}))
		}
		for i := range held {
			if s.Len(i) != len(held[i]) {
				t.Fatalf("sequence %d holds %d tokens, want %d", i, s.Len(i), len(held[i]))
			}
		}
	}
	s.Reset()
	for i := range batch {
		if s.Len(i) != 0 {
			t.Fatal("not empty after Reset")
		}
	}
	if held, made := s.(interface{ PageCount() (int, int) }).PageCount(); held != 0 || made == 0 {
		t.Fatalf("%d of %d pages are held after Reset", held, made)
	}
}

func TestSessionErrors(t *testing.T) {
	for kind, r := range runtimes(t, edge(), nil, 1) {
		t.Run(kind, func(t *testing.T) {
			if _, err := r.NewSession(0); err == nil {
				t.Fatal("a session of no sequences")
			}
			s := must(r.NewSession(2))
			must(s.Prefill(0, []int32{1, 2, 3}))
			visit := func(int, []float32) error { return nil }
			for name, tc := range map[string]struct {
				want error
				f    func() error
			}{
				"sequence":      {ErrSequence, func() error { _, err := s.Prefill(2, nil); return err }},
				"negative":      {ErrSequence, func() error { return s.Truncate(-1, 0) }},
				"step size":     {ErrSequence, func() error { _, err := s.Step([]int32{1}); return err }},
				"batch size":    {ErrSequence, func() error { _, err := s.PrefillBatch(make([][]int32, 3)); return err }},
				"token":         {ErrToken, func() error { _, err := s.Step([]int32{1, 37}); return err }},
				"prompt token":  {ErrToken, func() error { _, err := s.PrefillBatch([][]int32{{1}, {99}}); return err }},
				"negative id":   {ErrToken, func() error { return s.Score(0, []int32{-1}, visit) }},
				"context":       {ErrContextFull, func() error { _, err := s.Prefill(0, make([]int32, 38)); return err }},
				"score context": {ErrContextFull, func() error { return s.Score(1, make([]int32, 41), visit) }},
			} {
				if err := tc.f(); !errors.Is(err, tc.want) {
					t.Errorf("%s: error %v, want %v", name, err, tc.want)
				}
				if s.Len(0) != 3 || s.Len(1) != 0 {
					t.Fatalf("%s: the failed call changed the session", name)
				}
			}
			if err := s.Truncate(0, 4); err == nil {
				t.Error("rolled forward")
			}
			stop := errors.New("stop")
			if err := s.Score(1, []int32{1, 2}, func(int, []float32) error { return stop }); err != stop {
				t.Errorf("error %v, want that of visit", err)
			}
		})
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	for kind, r := range runtimes(t, edge(), nil, 2) {
		for _, batch := range []int{1, 3} {
			s := must(r.NewSession(batch))
			step := make([]int32, batch)
			n := testing.AllocsPerRun(30, func() {
				if _, err := s.Step(step); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s, batch %d: %v allocations a step", kind, batch, n)
			}
		}
	}
}
