package decode

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/engine/session"
	"mito/engine/tokenizer"
)

// TestCacheEquivalence compares the cache in pages of 1, 3 and 16 positions with one flat page, bit for bit, at every length around
// a window, whether tokens come one by one or together.
func TestCacheEquivalence(t *testing.T) {
	for _, window := range []int{0, 1, 6, 17} {
		c := edge()
		c.Window = window
		_, w := floatModel(t, c, 2)
		q := studentWeights(t, c, 2)
		open := func(kind string, page int) Session {
			o := Options{PageSize: page}
			r := must(NewInt8(q, nil, o))
			if kind == Float32 {
				r = must(NewFloat32(w, nil, o))
			}
			return must(r.NewSession(1))
		}
		tokens := randomTokens(rand.New(rand.NewPCG(1, 1)), c.VocabSize, c.Context)
		for _, kind := range []string{Float32, Int8} {
			flat := open(kind, c.Context)
			for _, page := range []int{1, 3, 16} {
				for _, n := range []int{window - 1, window, window + 1, 2*window + 3, c.Context} {
					if n < 1 || n > c.Context {
						continue
					}
					flat.Reset()
					want := slices.Clone(must(flat.Prefill(0, tokens[:n])))
					whole, single := open(kind, page), open(kind, page)
					if at := sameBits(must(whole.Prefill(0, tokens[:n])), want); at >= 0 {
						t.Errorf("%s, window %d, pages of %d, %d tokens: logit %d differs", kind, window, page, n, at)
					}
					var last []float32
					for _, id := range tokens[:n] {
						last = must(single.Step([]int32{id}))[0]
					}
					if at := sameBits(last, want); at >= 0 {
						t.Errorf("%s, window %d, pages of %d, %d tokens one by one: logit %d differs", kind, window, page, n, at)
					}
				}
			}
		}
	}
}

// TestCacheHistory forks, appends, rolls back and evicts at random, 100,000 steps over both kinds of models, pages and windows, and
// compares with the recomputation of the whole text in one page.
func TestCacheHistory(t *testing.T) {
	steps := 100_000 / 12
	if testing.Short() {
		steps = 100
	}
	for _, window := range []int{0, 5} {
		c := edge()
		c.Layers, c.Window, c.Context = 2, window, 24
		_, w := floatModel(t, c, 2)
		q := studentWeights(t, c, 2)
		for _, page := range []int{1, 3, 16} {
			for _, kind := range []string{Float32, Int8} {
				t.Run(label("%s window %d pages of %d", kind, window, page), func(t *testing.T) {
					t.Parallel()
					open := func(page int) Runtime {
						if kind == Float32 {
							return must(NewFloat32(w, nil, Options{PageSize: page}))
						}
						return must(NewInt8(q, nil, Options{PageSize: page}))
					}
					cacheHistory(t, open(page), must(open(c.Context).NewSession(1)), window, steps)
				})
			}
		}
	}
}

func cacheHistory(t *testing.T, r Runtime, flat Session, window, steps int) {
	const batch = 4
	s := must(r.NewSession(batch))
	rng := rand.New(rand.NewPCG(uint64(window), 7))
	texts := make([][]int32, batch)
	evicted := 0
	for step := range steps {
		seq := rng.IntN(batch)
		switch rng.IntN(4) {
		case 0, 1:
			more := randomTokens(rng, r.VocabSize(), min(1+rng.IntN(4), r.Context()-len(texts[seq])))
			if len(more) == 0 {
				continue
			}
			texts[seq] = append(texts[seq], more...)
			got := must(s.Prefill(seq, more))
			flat.Reset()
			if at := sameBits(got, must(flat.Prefill(0, texts[seq]))); at >= 0 {
				t.Fatalf("step %d, %d tokens: logit %d differs from the recomputation", step, len(texts[seq]), at)
			}
		case 2:
			n := rng.IntN(len(texts[seq]) + 1)
			if rng.IntN(2) == 0 {
				n = max(0, len(texts[seq])-rng.IntN(3))
			}
			if err := s.Truncate(seq, n); errors.Is(err, session.ErrEvicted) {
				evicted++
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			texts[seq] = texts[seq][:n]
		case 3:
			dst := rng.IntN(batch)
			check(t, s.Fork(dst, seq))
			texts[dst] = slices.Clone(texts[seq])
		}
	}
	if (evicted > 0) != (window > 0) && steps > 1000 {
		t.Errorf("%d steps met pages that were given up, with a window of %d", evicted, window)
	}
	s.Reset()
}

// TestWindowsAndGuesses wants the text of plain decoding from models whose windows pass on while guesses are verified and rolled
// back.
func TestWindowsAndGuesses(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	c := edge()
	c.Window, c.Context = 3, 90
	for kind, r := range map[string]Runtime{
		Float32: must(NewFloat32(second(floatModel(t, c, 1)), tok, Options{PageSize: 1})),
		Int8:    must(NewInt8(studentWeights(t, c, 1), tok, Options{PageSize: 1})),
	} {
		o := GenerateOptions{MaxTokens: 150, Slide: true}
		want := must(must(NewGenerator(r, GeneratorOptions{})).Generate(t.Context(), "abc", o))
		other := must(NewInt8(studentWeights(t, c, 9), tok, Options{PageSize: 1}))
		for name, spec := range map[string]Speculator{
			"other": must(NewDraft(other, r, 1, 8)), "same": must(NewDraft(r, r, 1, 8)), "wrong": &replay{slices.Repeat([]int32{5}, 80), 37},
			"half right": &replay{append(slices.Clone(want.Tokens[:60]), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 37},
		} {
			got, err := must(NewGenerator(r, GeneratorOptions{Speculator: spec})).Generate(t.Context(), "abc", o)
			if err != nil && !errors.Is(err, errDeparts) || !strings.HasPrefix(want.Text, got.Text) || err == nil && got.Text != want.Text {
				t.Errorf("%s, %s: %q, plainly %q, %v", kind, name, got.Text, want.Text, err)
			}
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestCacheBytes wants the memory that a session takes to be what is told before it is made.
func TestCacheBytes(t *testing.T) {
	for _, window := range []int{0, 5} {
		c := edge()
		c.Window = window
		_, w := floatModel(t, c, 1)
		for _, page := range []int{1, 3, 16} {
			for kind, r := range map[string]Runtime{
				Float32: must(NewFloat32(w, nil, Options{PageSize: page})), Int8: must(NewInt8(studentWeights(t, c, 1), nil, Options{PageSize: page})),
			} {
				s := must(r.NewSession(1))
				most := 0
				for n := 1; n <= c.Context; n++ {
					must(s.Step([]int32{1}))
					most = max(most, s.HeldBytes(0))
					want, size := r.CacheBytes(n)
					if got := s.HeldBytes(0); got > want || window == 0 && got != want || size != page {
						t.Fatalf("%s, window %d, pages of %d (%d): %d tokens hold %d bytes, told were %d", kind, window, page, size, n, got, want)
					}
				}
				if told, _ := r.CacheBytes(c.Context); most < told/2 {
					t.Errorf("%s, window %d, pages of %d: %d bytes at most, told were %d", kind, window, page, most, told)
				}
			}
		}
	}
}
