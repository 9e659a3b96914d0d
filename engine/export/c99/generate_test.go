package c99

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/tokenizer"
)

// generateProgram reads a token to begin with, a seed, the most tokens, a temperature by its bits, which is greedy where it is 0, and
// the number of tokens after which out stops the text, 0 for none. It prints the tokens and what student_generate returns.
const generateProgram = `#include <stdio.h>
#include "student.h"
static student_state state;
static student_word work[STUDENT_VOCAB];
static int left;
static int put(void *arg, int32_t token) {
  (void)arg;
  printf("%d ", (int)token);
  return --left == 0;
}
int main(void) {
  unsigned first, seed, temperature;
  int max;
  while (scanf("%u %u %d %u %d", &first, &seed, &max, &temperature, &left) == 5) {
    student_word t;
    student_sampling how;
    uint32_t random = seed;
    t.u = temperature;
    how.temperature = t.f, how.top_k = 0, how.top_p = 0.0f, how.min_p = 0.0f;
    student_reset(&state);
    student_feed(&state, (int32_t)first);
    if (temperature) printf("%d\n", (int)student_generate(&state, max, NULL, &how, &random, work, put, NULL));
    else printf("%d\n", (int)student_generate(&state, max, NULL, NULL, NULL, NULL, put, NULL));
  }
  return 0;
}
`

// student_generate gives out the tokens of mito's generator, greedy and drawn, to the end of the text, the length, the end of the context
// and where its caller stops it.
func TestGenerate(t *testing.T) {
	needCompiler(t)
	const alphabet = "abcdefghijklmnop0123456789-+. "
	tok, err := tokenizer.NewChars(alphabet, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	w := random(t, tiny(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false)
	r, err := decode.NewInt8(w, tok, decode.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	g, err := decode.NewGenerator(r, decode.GeneratorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	files, err := Write(w, tok, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	var want []string
	ends := map[string]int{}
	for seed := range uint32(80) {
		prompt := alphabet[seed%30 : seed%30+1]
		first, err := tok.Encode(prompt)
		if err != nil {
			t.Fatal(err)
		}
		most, temperature, stop := 1+int(seed*7%24), float64(seed%4)/2, 0
		if seed%5 == 0 {
			stop = 1 + int(seed/5%4)
		}
		fmt.Fprintf(&lines, "%d %d %d %d %d\n", first[0], seed, most, math.Float32bits(float32(temperature)), stop)
		o := decode.GenerateOptions{MaxTokens: most, Sampling: decode.Sampling{Temperature: temperature, Seed: uint64(seed)}}
		text, err := g.Generate(t.Context(), prompt, o)
		if err != nil {
			t.Fatal(err)
		}
		if stop > 0 && len(text.Tokens) >= stop {
			text.Tokens, text.End = text.Tokens[:stop], "out"
		}
		ends[text.End]++
		line := ""
		for _, id := range text.Tokens {
			line += fmt.Sprint(id, " ")
		}
		want = append(want, fmt.Sprint(line, len(text.Tokens)))
	}
	got := program(t, files, generateProgram)(lines.String())
	if len(got) != len(want) {
		t.Fatalf("%d texts, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("text %d: %q, want %q", i, got[i], want[i])
		}
	}
	for _, end := range []string{decode.EndEOS, decode.EndLength, decode.EndContext, "out"} {
		if ends[end] == 0 {
			t.Errorf("no text ends by %s: %v", end, ends)
		}
	}
}
