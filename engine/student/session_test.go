package student

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/session"
)

// history recomputes logits from nothing, one token at a time on pages that hold the whole context.
type history struct {
	s     *Session
	cache map[string][]float32
}

func (h *history) logits(t *testing.T, tokens []int32) []float32 {
	t.Helper()
	key := string(rune(len(tokens))) + label("%v", tokens)
	if l, ok := h.cache[key]; ok {
		return l
	}
	h.s.Reset()
	for i, tok := range tokens {
		got, err := h.s.Step([]int32{tok})
		if err != nil {
			t.Fatal(err)
		}
		h.cache[label("%s%v", string(rune(i+1)), tokens[:i+1])] = slices.Clone(got[0])
	}
	return h.cache[key]
}

// TestRandomHistory appends, decodes, rolls back, forks and empties sequences at random and compares every row of logits
// with a recomputation, bit by bit.
func TestRandomHistory(t *testing.T) {
	for _, tc := range []struct {
		name          string
		page, threads int
		window        int
	}{
		{"page 1", 1, 1, 0}, {"page 3", 3, 1, 0}, {"page 16", 16, 1, 0}, {"page 64", 64, 1, 0}, {"threads", 16, 2, 0},
		{"window 4, page 1", 1, 1, 4}, {"window 4, page 3", 3, 2, 4}, {"window 17, page 16", 16, 1, 17},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := edgeConfig()
			c.Window = tc.window
			w := randomWeights(c, 2)
			h := history{newSession(t, newModel(t, w, Options{PageSize: c.Context}), 1), map[string][]float32{}}
			const batch = 4
			s := newSession(t, newModel(t, w, Options{Threads: tc.threads, PageSize: tc.page}), batch)
			rng := rand.New(rand.NewPCG(5, uint64(tc.page)))
			texts := make([][]int32, batch)
			check := func(seq int, logits []float32) {
				t.Helper()
				if at := sameBits(logits, h.logits(t, texts[seq])); at >= 0 {
					t.Fatalf("sequence %d, %d tokens: logit %d differs from the recomputation", seq, len(texts[seq]), at)
				}
			}
			for range 150 {
				seq := rng.IntN(batch)
				switch rng.IntN(6) {
				case 0, 1:
					step := []int32{-1, -1, -1, -1}
					for i := range step {
						if rng.IntN(3) > 0 && len(texts[i]) < c.Context {
							step[i] = int32(rng.IntN(c.VocabSize))
							texts[i] = append(texts[i], step[i])
						}
					}
					logits, err := s.Step(step)
					if err != nil {
						t.Fatal(err)
					}
					for i := range step {
						if step[i] >= 0 {
							check(i, logits[i])
						} else if logits[i] != nil {
							t.Fatal("logits for an idle sequence")
						}
					}
				case 2:
					tokens := randomTokens(rng, c.VocabSize, rng.IntN(min(12, c.Context-len(texts[seq])+1)))
					texts[seq] = append(texts[seq], tokens...)
					logits, err := s.Prefill(seq, tokens)
					if err != nil {
						t.Fatal(err)
					}
					if len(tokens) > 0 {
						check(seq, logits)
					}
				case 3:
					n := rng.IntN(len(texts[seq]) + 1)
					if err := s.Truncate(seq, n); errors.Is(err, session.ErrEvicted) && c.Window > 0 {
						break
					} else if err != nil {
						t.Fatal(err)
					}
					texts[seq] = texts[seq][:n]
				case 4:
					dst := rng.IntN(batch)
					if err := s.Fork(dst, seq); err != nil {
						t.Fatal(err)
					}
					texts[dst] = slices.Clone(texts[seq])
				case 5:
					prompts := make([][]int32, batch)
					for i := range prompts {
						prompts[i] = randomTokens(rng, c.VocabSize, rng.IntN(min(6, c.Context-len(texts[i])+1)))
						texts[i] = append(texts[i], prompts[i]...)
					}
					logits, err := s.PrefillBatch(prompts)
					if err != nil {
						t.Fatal(err)
					}
					for i := range prompts {
						if len(prompts[i]) > 0 {
							check(i, logits[i])
						}
					}
				}
				for i := range texts {
					if s.Len(i) != len(texts[i]) {
						t.Fatalf("sequence %d has %d tokens, want %d", i, s.Len(i), len(texts[i]))
					}
				}
			}
			if s.Reset(); held(s) != 0 {
				t.Fatalf("%d pages held after Reset", held(s))
			}
		})
	}
}

func held(s *Session) int {
	n, _ := s.PageCount()
	return n
}

// TestWindowEdges decodes past the window on pages of several sizes; the specification has neither pages nor cache.
func TestWindowEdges(t *testing.T) {
	for _, window := range []int{1, 4, 16, 17} {
		c := edgeConfig()
		c.Window, c.Layers = window, 1
		w := randomWeights(c, 3)
		tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, c.Context)
		want := specForward(w, tokens)
		for _, page := range []int{1, 3, 16} {
			m := newModel(t, w, Options{PageSize: page})
			for _, n := range []int{window - 1, window, window + 1, 2*window + 3} {
				if n < 1 || n > c.Context {
					continue
				}
				s := newSession(t, m, 1)
				got, err := s.Prefill(0, tokens[:n])
				if err != nil {
					t.Fatal(err)
				}
				if at := sameBits(got, want[n-1]); at >= 0 {
					t.Errorf("window %d, page %d, %d tokens: logit %d differs", window, page, n, at)
				}
			}
		}
	}
}

func TestScoreAndLongPrompts(t *testing.T) {
	c := edgeConfig()
	c.Context = 3*session.MaxRows + 5
	w := randomWeights(c, 4)
	tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, c.Context)
	want := specForward(w, tokens)
	s := newSession(t, newModel(t, w, Options{}), 2)
	seen := 0
	err := s.Score(1, tokens, func(i int, logits []float32) error {
		if i != seen {
			t.Errorf("visited %d, want %d", i, seen)
		}
		seen++
		if at := sameBits(logits, want[i]); at >= 0 {
			t.Fatalf("token %d: logit %d differs", i, at)
		}
		return nil
	})
	if err != nil || seen != len(tokens) {
		t.Fatalf("%d visits, %v", seen, err)
	}
	logits, err := s.PrefillBatch([][]int32{tokens})
	if err != nil {
		t.Fatal(err)
	}
	if at := sameBits(logits[0], want[len(want)-1]); at >= 0 {
		t.Errorf("long prompt: logit %d differs", at)
	}
	stop := errors.New("stop")
	s.Reset()
	if err := s.Score(0, tokens[:3], func(int, []float32) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestRefusedCallsChangeNothing(t *testing.T) {
	c := edgeConfig()
	s := newSession(t, newModel(t, randomWeights(c, 5), Options{}), 2)
	if _, err := s.Prefill(0, []int32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	long := make([]int32, c.Context-2)
	step := func(tokens ...int32) error { _, err := s.Step(tokens); return err }
	prefill := func(seq int, tokens ...int32) error { _, err := s.Prefill(seq, tokens); return err }
	for name, tc := range map[string]struct{ got, want error }{
		"too few tokens":     {step(1), ErrSequence},
		"token too large":    {step(1, int32(c.VocabSize)), ErrToken},
		"negative token":     {prefill(0, -1), ErrToken},
		"no such sequence":   {prefill(2, 1), ErrSequence},
		"context":            {prefill(0, long...), ErrContextFull},
		"truncate, sequence": {s.Truncate(-1, 0), ErrSequence},
		"fork, sequence":     {s.Fork(0, 9), ErrSequence},
	} {
		if !errors.Is(tc.got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, tc.got, tc.want)
		}
	}
	if _, err := s.PrefillBatch([][]int32{{1}, {2}, {3}}); !errors.Is(err, ErrSequence) {
		t.Errorf("too many prompts: %v", err)
	}
	if _, err := s.PrefillBatch([][]int32{{1}, {int32(c.VocabSize)}}); !errors.Is(err, ErrToken) {
		t.Errorf("bad token in a batch: %v", err)
	}
	if err := s.Truncate(0, 4); err == nil {
		t.Error("truncate beyond the end succeeded")
	}
	if s.Len(0) != 3 || s.Len(1) != 0 {
		t.Errorf("lengths %d and %d after refused calls", s.Len(0), s.Len(1))
	}
}

func TestNoAllocationPerToken(t *testing.T) {
	c := edgeConfig()
	plain, pruned := randomWeights(c, 6), randomWeights(c, 6)
	pruneHeads(pruned, 1)
	for _, tc := range []struct {
		name        string
		w           *Weights
		batch, page int
	}{
		{"one sequence", plain, 1, 4}, {"eight", plain, 8, 4}, {"whole blocks", plain, 2, 16}, {"pruned", pruned, 2, 16},
	} {
		batch := tc.batch
		s := newSession(t, newModel(t, tc.w, Options{PageSize: tc.page}), batch)
		step := make([]int32, batch)
		decode := func() {
			s.Reset()
			for range c.Context {
				if _, err := s.Step(step); err != nil {
					t.Fatal(err)
				}
			}
		}
		decode()
		if n := testing.AllocsPerRun(3, decode); n > 0 {
			t.Errorf("%s: %v allocations in %d tokens", tc.name, n, c.Context)
		}
	}
}

func TestThreadsOnWideModel(t *testing.T) {
	c := edgeConfig()
	c.HiddenSize, c.IntermediateSize, c.Layers = 256, 1024, 1
	w := randomWeights(c, 8)
	tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, c.Context)
	want := specForward(w, tokens)
	s := newSession(t, newModel(t, w, Options{Threads: 3}), 1)
	got, err := s.Prefill(0, tokens) // wide enough to split the products
	if err != nil {
		t.Fatal(err)
	}
	if at := sameBits(got, want[len(want)-1]); at >= 0 {
		t.Errorf("logit %d differs", at)
	}
}

// TestThreadsShareOneCache wants the bits of one thread where threads store the keys and values of one sequence at once, wherever
// in a page their shares begin.
func TestThreadsShareOneCache(t *testing.T) {
	c := edgeConfig()
	c.Context = 2*session.MaxRows + 60
	w := randomWeights(c, 9)
	tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, c.Context)
	for _, page := range []int{1, 3, 16, 64} {
		alone := newSession(t, newModel(t, w, Options{PageSize: page}), 1)
		for _, threads := range []int{2, 3} {
			team := newSession(t, newModel(t, w, Options{PageSize: page, Threads: threads}), 1)
			for _, start := range []int{1, 2, 5, 15} {
				for _, n := range []int{17, 31, 2*session.MaxRows + 1, 3*session.MaxRows + 1} {
					var got [2][]float32
					for i, s := range []*Session{alone, team} {
						s.Reset()
						for _, part := range [][]int32{tokens[:start], tokens[start:][:n]} {
							logits, err := s.Prefill(0, part)
							if err != nil {
								t.Fatal(err)
							}
							got[i] = logits
						}
					}
					if at := sameBits(got[0], got[1]); at >= 0 {
						t.Errorf("pages of %d, %d threads, %d tokens after %d: logit %d differs", page, threads, n, start, at)
					}
				}
			}
		}
	}
}

// TestHeadRoom wants a worker to have room for the logits that are wanted of it, not of all its rows.
func TestHeadRoom(t *testing.T) {
	c := edgeConfig()
	c.VocabSize = 4096
	s := newSession(t, newModel(t, randomWeights(c, 10), Options{}), 1)
	if _, err := s.Prefill(0, make([]int32, c.Context-3)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Worker().(*worker).acc); n != c.VocabSize {
		t.Errorf("%d sums for one row of %d logits", n, c.VocabSize)
	}
	if err := s.Score(0, make([]int32, 3), func(int, []float32) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Worker().(*worker).acc); n != 3*c.VocabSize {
		t.Errorf("%d sums for three rows of %d logits", n, c.VocabSize)
	}
}
