package c99

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/grammar"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// writeProgram reads seeds, numbers of tokens and temperatures by their bits, and writes texts of the grammar.
const writeProgram = `#include <stdio.h>
#include "student.h"
static student_state state;
static student_word work[STUDENT_VOCAB];
static int put(void *arg, int32_t token) {
  int32_t bytes, i;
  const char *piece = student_piece(token, &bytes);
  (void)arg;
  for (i = 0; i < bytes; i++) putchar(piece[i]);
  return 0;
}
int main(void) {
  unsigned seed, temperature;
  int max;
  while (scanf("%u %d %u", &seed, &max, &temperature) == 3) {
    student_word t;
    student_sampling how;
    uint32_t random = seed;
    t.u = temperature;
    how.temperature = t.f, how.top_k = 0, how.top_p = 0.0f, how.min_p = 0.0f;
    student_reset(&state);
    student_feed(&state, (int32_t)(seed % STUDENT_VOCAB));
    printf(" %d\n", (int)student_write(&state, max, &how, &random, work, put, NULL));
  }
  return 0;
}
`

// The device writes the texts of a grammar that mito writes, for many seeds and lengths, and none else.
func TestGrammar(t *testing.T) {
	needCompiler(t)
	const alphabet = "abcdefghijklmnop0123456789-+. "
	with, err := tokenizer.NewChars(alphabet, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	without, err := tokenizer.NewChars(alphabet)
	if err != nil {
		t.Fatal(err)
	}
	number, err := grammar.Regex(`(on|off)( -?[0-9]{1,3}(\.[0-9]+)?)*`)
	if err != nil {
		t.Fatal(err)
	}
	choices, err := grammar.Choices([]string{"do", "dog", "flee", "in a bog"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []tokenizer.Tokenizer{with, without} {
		for name, g := range map[string]*grammar.Grammar{"numbers": number, "choices": choices} {
			v, err := decode.Vocabulary(tok)
			if err != nil {
				t.Fatal(err)
			}
			m, err := g.Bind(v)
			if err != nil {
				t.Fatal(err)
			}
			a, err := m.Automaton(1000)
			if err != nil {
				t.Fatal(err)
			}
			w := random(t, tiny(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false)
			files, err := Write(w, tok, Options{Grammar: a})
			if err != nil {
				t.Fatal(err)
			}
			var lines strings.Builder
			var want []string
			for seed := range uint32(60) {
				most, temperature := int(seed%13), float64(seed%3)*2
				if seed >= 40 {
					most = w.Config.Context - 3 + int(seed%7) // shorter than the context, as long, and longer
				}
				fmt.Fprintf(&lines, "%d %d %d\n", seed, most, math.Float32bits(float32(temperature)))
				want = append(want, guided(t, w, tok, m, seed, most, temperature))
			}
			different := map[string]bool{}
			got := program(t, files, writeProgram)(lines.String())
			if len(got) != len(want) {
				t.Fatalf("%s: %d texts, want %d", name, len(got), len(want))
			}
			for i, got := range got {
				if got != want[i] {
					t.Errorf("%s: %q, want %q", name, got, want[i])
				}
				different[got] = true
			}
			if len(different) < 5 {
				t.Errorf("%s: %v show too little", name, different)
			}
		}
	}
	w := random(t, tiny(func(c *arch.Config) { c.VocabSize = with.VocabSize() }), false)
	for least, refused := range map[int]bool{w.Config.Context: false, w.Config.Context + 1: true} {
		a := &grammar.Automaton{From: []int32{0, 0}, Least: []int32{int32(least)}}
		if _, err := Write(w, with, Options{Grammar: a}); errors.As(err, new(*GrammarError)) != refused {
			t.Errorf("a grammar of texts of %d tokens in a context of %d: %v", least, w.Config.Context, err)
		}
	}
	if _, err := Write(random(t, configs()["usual"], false), nil, Options{Grammar: &grammar.Automaton{From: []int32{0, 0}, Least: []int32{0}}}); !errors.As(err, new(*GrammarError)) {
		t.Errorf("without a tokenizer: %v", err)
	}
}

// guided is what Go writes, with the number of tokens.
func guided(t *testing.T, w *student.Weights, tok tokenizer.Tokenizer, m *grammar.Masks, seed uint32, most int, temperature float64) string {
	t.Helper()
	model, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	s, err := model.NewSession(1)
	if err != nil {
		t.Fatal(err)
	}
	sampler, err := decode.NewSampler(decode.Sampling{Temperature: temperature, Seed: uint64(seed)})
	if err != nil {
		t.Fatal(err)
	}
	most = min(most, w.Config.Context) // of a prompt of one token, since the last token is not read
	if m.Check(most) != nil {
		return " -1"
	}
	var text []byte
	token, n := int32(seed%uint32(w.Config.VocabSize)), 0
	for state := m.Start(); n < most && !m.Ended(state, most-n); n++ {
		logits, err := s.Step([]int32{token})
		if err != nil {
			t.Fatal(err)
		}
		mask, err := m.Within(state, most-n)
		if err != nil {
			t.Fatal(err)
		}
		sampler.Restrict(mask)
		if token, err = sampler.Next(logits[0]); err != nil {
			t.Fatal(err)
		}
		if token == tok.EOS() {
			break
		}
		state = m.Next(state, token)
		text = m.Append(text, token)
	}
	return fmt.Sprintf("%s %d", text, n)
}
