package c99

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/session/adapters"
	"mito/engine/student"
)

// someAdapters add to other matrices each, at ranks of their own.
func someAdapters(c arch.Config) []adapters.Adapter {
	r := rand.New(rand.NewPCG(8, 1))
	index := c.Index()
	addition := func(layer int, part arch.Part, rank int) adapters.Addition {
		m := index[arch.Place{Layer: layer, Part: part}]
		d := adapters.Addition{Layer: layer, Part: part, Rank: rank, Scale: 0.7, A: make([]float32, rank*m.Cols), B: make([]float32, rank*m.Rows)}
		for _, v := range [][]float32{d.A, d.B} {
			for i := range v {
				v[i] = float32(r.NormFloat64()) / 3
			}
		}
		return d
	}
	last := c.Layers - 1
	up := []adapters.Addition{addition(last, arch.Up, 2)}
	if c.Activation == arch.ActSwiGLU {
		up = append(up, addition(last, arch.Gate, 4))
	}
	if c.PLEDim > 0 {
		up = append(up, addition(0, arch.PLEGate, 2), addition(last, arch.PLEGate, 1), addition(0, arch.PLEOut, 3))
	}
	return []adapters.Adapter{
		{Name: "attention", Additions: []adapters.Addition{addition(0, arch.Query, 3), addition(0, arch.Value, 1), addition(last, arch.Output, 2)}},
		{Name: "mlp */ x", Additions: append(up, addition(0, arch.Down, 5), addition(last, arch.Key, 1))},
	}
}

// A device that switches between adapters computes the bits of each.
func TestAdapters(t *testing.T) {
	needCompiler(t)
	const main = `#include <stdio.h>
#include "student.h"
static student_state state;
static student_word y[STUDENT_VOCAB];
int main(void) {
  int a, i;
  if (student_adapt(&state, STUDENT_ADAPTERS + 1) != -1) return 1;
  for (a = 0; a < 2 * (STUDENT_ADAPTERS + 1); a++) {
    if (student_adapt(&state, a % (STUDENT_ADAPTERS + 1))) return 1;
    for (i = 0; i < 9; i++) student_step(&state, i * 5 % STUDENT_VOCAB, &y->f);
    for (i = 0; i < STUDENT_VOCAB; i++) printf("%08x", (unsigned)y[i].u);
    printf("\n");
  }
  return 0;
}
`
	for _, name := range []string{"usual", "gpt", "llama", "ple"} {
		c := configs()[name]
		w, list := random(t, c, false), someAdapters(c)
		want := proof(t, w)
		files, err := Write(w, nil, Options{Proof: want, Adapters: list})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Run(context.Background(), files, "", "", "-Wall", "-Wextra", "-Werror", "-Wno-unused-local-typedefs")
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Agrees(want); err != nil { // of the model without adapters
			t.Errorf("%s: %v", name, err)
		}
		lines := program(t, files, main)("")
		for a := range 2 * (len(list) + 1) {
			if want := adaptedLogits(t, w, list, a%(len(list)+1)); a >= len(lines) || lines[a] != want {
				t.Errorf("%s: adapter %d: %s, want %s", name, a%(len(list)+1), lines[a], want)
			}
		}
		if lines[0] == lines[1] || lines[0] == lines[2] || lines[1] == lines[2] {
			t.Errorf("%s: adapters change nothing", name)
		}
	}
	var e *adapters.Error
	if _, err := Write(random(t, configs()["usual"], false), nil, Options{Adapters: someAdapters(configs()["gpt"])}); !errors.As(err, &e) {
		t.Errorf("adapters of another model: %v", err)
	}
}

// adaptedLogits are those after nine tokens, in hexadecimal.
func adaptedLogits(t *testing.T, w *student.Weights, list []adapters.Adapter, adapter int) string {
	t.Helper()
	m, err := student.New(w, student.Options{Adapters: list})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Adapt(0, append([]string{""}, adapters.Names(list)...)[adapter]); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 9 {
		logits, err := s.Step([]int32{int32(i * 5 % w.Config.VocabSize)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 8 {
			for _, y := range logits[0] {
				fmt.Fprintf(&b, "%08x", math.Float32bits(y))
			}
		}
	}
	return b.String()
}
