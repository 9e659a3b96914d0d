package c99

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/student"
)

// sampleProgram reads settings line by line, floats by their bits, and writes the tokens of a text for each.
const sampleProgram = `#include <stdio.h>
#include "student.h"
static student_state state;
static student_word work[STUDENT_VOCAB];
static int put(void *arg, int32_t token) { (void)arg; printf("%d ", (int)token); return 0; }
int main(void) {
  unsigned seed, first, temperature, top_p, min_p, odd;
  int top_k;
  while (scanf("%u %u %u %d %u %u %u", &seed, &first, &temperature, &top_k, &top_p, &min_p, &odd) == 7) {
    static uint8_t mask[STUDENT_MASK];
    student_word t, p, m;
    student_sampling how;
    uint32_t random = seed;
    int i, n;
    for (i = 0; i < STUDENT_MASK; i++) mask[i] = 0xaa;
    t.u = temperature, p.u = top_p, m.u = min_p;
    how.temperature = t.f, how.top_k = top_k, how.top_p = p.f, how.min_p = m.f;
    student_reset(&state);
    student_feed(&state, (int32_t)first);
    n = student_generate(&state, STUDENT_CONTEXT - 1, odd ? mask : NULL, &how, &random, work, put, NULL);
    printf("%d\n", n);
  }
  return 0;
}
`

// The device draws the same text as mito generate, for many seeds and all filters.
func TestSampling(t *testing.T) {
	needCompiler(t)
	c := tiny(func(c *arch.Config) { c.VocabSize, c.QKNorm = 300, true })
	w := random(t, c, false)
	files, err := Write(w, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := []decode.Sampling{
		{}, {Temperature: 1}, {Temperature: 0.3}, {Temperature: 1e-3}, {Temperature: 50}, {Temperature: 2, TopK: 1}, {Temperature: 2, TopK: 40}, {Temperature: 2, TopK: 1000},
		{Temperature: 3, TopP: 0.9}, {Temperature: 1, TopP: 1e-9}, {Temperature: 1, TopP: 1}, {Temperature: 2, MinP: 0.05}, {Temperature: 2, MinP: 1},
		{Temperature: 5, TopK: 100, TopP: 0.95, MinP: 0.1}, {Temperature: 1e9}, {Temperature: 1e9, TopK: 7}, {Temperature: 1e9, TopP: 0.5},
	}
	var lines strings.Builder
	var want []string
	for _, o := range settings {
		for seed := range uint64(12) {
			o.Seed = seed * 0x9e3779b97f4a7c15
			first, odd := int32(seed*29%300), seed%3 == 2
			b := func(v float64) uint32 { return math.Float32bits(float32(v)) }
			fmt.Fprintf(&lines, "%d %d %d %d %d %d %d\n", uint32(o.Seed)^uint32(o.Seed>>32), first, b(o.Temperature), o.TopK, b(o.TopP), b(o.MinP), bit(odd))
			want = append(want, text(t, w, o, first, odd))
		}
	}
	got := program(t, files, sampleProgram)(lines.String())
	if len(got) != len(want) {
		t.Fatalf("%d texts, want %d", len(got), len(want))
	}
	seen := map[string]bool{}
	for i, line := range got {
		if line != want[i] {
			t.Errorf("%+v: %s, want %s", settings[i/12], line, want[i])
		}
		seen[line] = true
	}
	t.Logf("%d texts, %d of them different", len(got), len(seen))
	if len(seen) < len(got)/2 {
		t.Error("too few of them differ to show anything")
	}
}

// text is what Go draws; odd allows the tokens of odd number only.
func text(t *testing.T, w *student.Weights, o decode.Sampling, token int32, odd bool) string {
	t.Helper()
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	session, err := m.NewSession(1)
	if err != nil {
		t.Fatal(err)
	}
	sampler, err := decode.NewSampler(o)
	if err != nil {
		t.Fatal(err)
	}
	if odd {
		allowed := make([]bool, w.Config.VocabSize)
		for i := range allowed {
			allowed[i] = i%2 == 1
		}
		sampler.Restrict(allowed)
	}
	var b strings.Builder
	n := 0
	for ; n < w.Config.Context-1; n++ {
		logits, err := session.Step([]int32{token})
		if err != nil {
			t.Fatal(err)
		}
		token, err = sampler.Next(logits[0])
		if errors.Is(err, decode.ErrNothingAllowed) {
			return b.String() + "-1"
		} else if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d ", token)
	}
	return b.String() + fmt.Sprint(n)
}
