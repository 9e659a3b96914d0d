package eval

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"mito/engine/decode"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// counting counts the prompts that reach the model.
type counting struct {
	decode.Runtime
	prompts int
}

type countingSession struct {
	decode.Session
	r *counting
}

func (c *counting) NewSession(batch int) (decode.Session, error) {
	s, err := c.Runtime.NewSession(batch)
	return countingSession{s, c}, err
}

func (s countingSession) PrefillBatch(prompts [][]int32) ([][]float32, error) {
	s.r.prompts += len(prompts)
	return s.Session.PrefillBatch(prompts)
}

func TestPlayer(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	prompts := []string{"abc=", "x=", "abc=", "abc=", "longer=", "y=", "x="}
	legal := [][]string{{"1", "2", "3"}, {"0"}, {"1", "2", "3"}, {"2", "3"}, {"z", "a"}, {"1", "5", "9"}, {"0"}}
	for kind, r := range runtimes(t, edge(), tok, 2) {
		for _, batch := range []int{1, 2, 64} {
			c := &counting{Runtime: r}
			p := must(NewPlayer(t.Context(), c, batch))
			got := must(p.Choose(prompts, legal))
			s := must(r.NewSession(1))
			for i := range prompts {
				s.Reset()
				logits := must(s.Prefill(0, must(tok.Encode(prompts[i]))))
				var best task.Choice
				top := float32(math.Inf(-1))
				own := logits[slices.IndexFunc(logits, func(v float32) bool { return v == slices.Max(logits) })]
				for _, a := range legal[i] {
					v := logits[must(tok.Encode(a))[0]]
					if v > top {
						best.Answer, top = a, v
					}
					best.OwnLegal = best.OwnLegal || v == own
				}
				if got[i] != best {
					t.Errorf("%s, batch %d, prompt %q of %q: %v, want %v", kind, batch, prompts[i], legal[i], got[i], best)
				}
			}
			if c.prompts != 5 {
				t.Errorf("%s, batch %d: the model was asked %d prompts, 5 are distinct", kind, batch, c.prompts)
			}
			if again := must(p.Choose(prompts, legal)); !slices.Equal(again, got) || c.prompts != 5 {
				t.Errorf("%s, batch %d: the second time %v after %d prompts, want %v from memory", kind, batch, again, c.prompts, got)
			}
		}
	}
}

// TestPlayerScores plays a task with a model that has not learned it, by several goroutines at once.
func TestPlayerScores(t *testing.T) {
	game := must(task.Lookup("tictactoe"))
	tok := must(tokenizer.NewChars(game.Alphabet()))
	c := edge()
	c.VocabSize, c.Context = tok.VocabSize(), 12
	for kind, r := range runtimes(t, c, tok, 2) {
		p := must(NewPlayer(t.Context(), r, 16))
		scores := make([]task.Score, 2)
		var wg sync.WaitGroup
		for i := range scores {
			wg.Go(func() {
				scores[i] = must(game.Score(context.Background(), p, task.ScoreOptions{Opponent: "random", Games: 100, Seed: 1}))
			})
		}
		wg.Wait()
		for _, s := range scores {
			if s.Games != 100 || s.Record != scores[0].Record || s.OwnLegal < 0 || s.OwnLegal > 1 {
				t.Errorf("%s: scores %+v", kind, scores)
			}
		}
	}
}

func TestPlayerErrors(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	r := runtimes(t, edge(), nil, 1)[decode.Float32]
	if _, err := NewPlayer(t.Context(), r, 1); !errors.Is(err, decode.ErrNoTokenizer) {
		t.Errorf("without a tokenizer: error %v", err)
	}
	r = runtimes(t, edge(), tok, 1)[decode.Float32]
	if _, err := NewPlayer(t.Context(), r, 0); err == nil {
		t.Error("a batch of none")
	}
	p := must(NewPlayer(t.Context(), r, 4))
	var answer *AnswerError
	if _, err := p.Choose([]string{"a"}, [][]string{{"1", "12"}}); !errors.As(err, &answer) || answer.Answer != "1" {
		t.Errorf("an answer that begins another: error %v", err)
	}
	if _, err := p.Choose([]string{"a"}, [][]string{{"1", ""}}); err == nil {
		t.Error("an empty answer")
	}
	if _, err := p.Choose([]string{"a"}, [][]string{nil}); !errors.As(err, &answer) {
		t.Errorf("no legal answer: error %v", err)
	}
	if _, err := p.Choose([]string{"a"}, nil); err == nil {
		t.Error("prompts without lists of answers")
	}
	if _, err := p.Choose([]string{""}, [][]string{{"1"}}); !errors.Is(err, decode.ErrEmptyPrompt) {
		t.Errorf("an empty prompt: error %v", err)
	}
	var unknown *tokenizer.UnknownCharError
	if _, err := p.Choose([]string{"A"}, [][]string{{"1"}}); !errors.As(err, &unknown) {
		t.Errorf("an unknown character: error %v", err)
	}
	if _, err := p.Choose([]string{testText(41)}, [][]string{{"1"}}); !errors.Is(err, decode.ErrContextFull) {
		t.Errorf("a prompt that is too long: error %v", err)
	}
	nan := edge()
	_, w := floatModel(t, nan, 1)
	w.Tensors["model.norm.weight"][0] = float32(math.NaN())
	p = must(NewPlayer(t.Context(), must(decode.NewFloat32(w, tok, decode.Options{})), 1))
	if _, err := p.Choose([]string{"a"}, [][]string{{"1"}}); !errors.Is(err, decode.ErrNotFinite) {
		t.Errorf("a NaN in the weights: error %v", err)
	}
}

// TestPlayerTies wants the first of equal logits, whatever the order of the legal answers.
func TestPlayerTies(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	_, w := floatModel(t, edge(), 1)
	for name := range w.Tensors {
		clear(w.Tensors[name])
	}
	p := must(NewPlayer(t.Context(), must(decode.NewFloat32(w, tok, decode.Options{})), 1))
	for _, legal := range [][]string{{"7", "2", "5"}, {"2", "7"}, {"5", "2"}} {
		if got := must(p.Choose([]string{"a="}, [][]string{legal})); got[0].Answer != "2" || got[0].OwnLegal {
			t.Errorf("%q: %+v", legal, got[0])
		}
	}
	if got := must(p.Choose([]string{"a="}, [][]string{{"1", "0"}})); !got[0].OwnLegal {
		t.Errorf("the first of the vocabulary is legal: %+v", got[0])
	}
}

// TestPlayerSpells wants answers of several tokens, found token by token, however many texts run side by side.
func TestPlayerSpells(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	prompts := []string{"abc=", "x=", "q=", "longer=", "zz="}
	legal := [][]string{{"12", "13", "2"}, {"abc", "abd"}, {"9", "8"}, {"one", "two", "three", "0"}, {"zzzz", "y"}}
	for kind, r := range runtimes(t, edge(), tok, 2) {
		for _, batch := range []int{1, 3, 64} {
			got := must(must(NewPlayer(t.Context(), r, batch)).Choose(prompts, legal))
			s := must(r.NewSession(1))
			for i := range prompts {
				s.Reset()
				logits := must(s.Prefill(0, must(tok.Encode(prompts[i]))))
				want := task.Choice{OwnLegal: true}
				for !slices.Contains(legal[i], want.Answer) {
					best, top := "", float32(math.Inf(-1))
					for _, c := range alphabet {
						v := logits[must(tok.Encode(string(c)))[0]]
						if v > top && slices.ContainsFunc(legal[i], func(a string) bool { return strings.HasPrefix(a, want.Answer+string(c)) }) {
							best, top = string(c), v
						}
					}
					want.OwnLegal = want.OwnLegal && top == slices.Max(logits)
					want.Answer += best
					logits = must(s.Prefill(0, must(tok.Encode(best))))
				}
				if got[i] != want {
					t.Errorf("%s, batch %d, prompt %q: %+v, want %+v", kind, batch, prompts[i], got[i], want)
				}
			}
		}
	}
}

// TestRate: the probabilities of answers among each other are the softmax of their logits, each distinct prompt is read once, and
// what is no single token of the model is refused. A tokenizer may put a token before each prompt.
func TestRate(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	testRate(t, tok)
	t.Run("template", func(t *testing.T) { testRate(t, templated{tok, must(tok.Encode("b"))}) })
}

func testRate(t *testing.T, tok tokenizer.Tokenizer) {
	begin, _ := tok.Template()
	prompts, answers := []string{"abc=", "x=", "abc=", "y="}, []string{"1", "2", "3"}
	for kind, r := range runtimes(t, edge(), tok, 2) {
		for _, batch := range []int{1, 64} {
			c := &counting{Runtime: r}
			p := must(NewPlayer(t.Context(), c, batch)).(task.Rater)
			got := must(p.Rate(prompts, answers))
			s := must(r.NewSession(1))
			for i := range prompts {
				s.Reset()
				logits := must(s.Prefill(0, append(slices.Clone(begin), must(tok.Encode(prompts[i]))...)))
				sum := 0.0
				for _, a := range answers {
					sum += math.Exp(float64(logits[must(tok.Encode(a))[0]]))
				}
				for k, a := range answers {
					if want := math.Exp(float64(logits[must(tok.Encode(a))[0]])) / sum; math.Abs(got[i][k]-want) > 1e-12 {
						t.Errorf("%s, batch %d, prompt %q: %q has %v, want %v", kind, batch, prompts[i], a, got[i][k], want)
					}
				}
			}
			if must(p.Rate(prompts, answers)); c.prompts != 3 {
				t.Errorf("%s, batch %d: the model was asked %d prompts, 3 are distinct", kind, batch, c.prompts)
			}
			if other := must(p.Rate(prompts[:1], answers[:2])); len(other[0]) != 2 || math.Abs(other[0][0]+other[0][1]-1) > 1e-12 {
				t.Errorf("%s: of two answers %v", kind, other)
			}
		}
		p := must(NewPlayer(t.Context(), r, 4)).(task.Rater)
		var answer *AnswerError
		if _, err := p.Rate(prompts, []string{"12"}); !errors.As(err, &answer) {
			t.Errorf("an answer of two tokens: error %v", err)
		}
		if _, err := p.Rate([]string{""}, answers); len(begin) == 0 && !errors.Is(err, decode.ErrEmptyPrompt) {
			t.Errorf("an empty prompt: error %v", err)
		}
	}
}
