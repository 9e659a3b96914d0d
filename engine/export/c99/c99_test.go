package c99

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// tiny is a small model of mito's usual shape.
func tiny(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 30, HiddenSize: 16, IntermediateSize: 24, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 4,
		Context: 20, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
	change(&c)
	return c
}

// configs have every part that a model may have, and sizes that are no multiple of anything.
func configs() map[string]arch.Config {
	return map[string]arch.Config{
		"usual":  tiny(func(c *arch.Config) { c.QKNorm, c.Layers = true, 2 }),
		"window": tiny(func(c *arch.Config) { c.TieEmbeddings, c.Window = false, 9 }),
		"odd": tiny(func(c *arch.Config) {
			c.VocabSize, c.HiddenSize, c.HeadDim, c.Context, c.Activation, c.MLPBias = 13, 30, 6, 21, arch.ActReLU, true
			c.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 41, Window: 4}, {Heads: 2, KVHeads: 1, IntermediateSize: 17, Scale: 0.7}})
		}),
		"gpt": tiny(func(c *arch.Config) {
			c.Norm, c.Position, c.Activation, c.KVHeads, c.AttentionBias, c.MLPBias = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4, true, true
		}),
		"ple":   tiny(func(c *arch.Config) { c.PLEDim, c.Layers = 70, 2 }),
		"llama": tiny(func(c *arch.Config) { c.Activation, c.TieEmbeddings, c.Context = arch.ActSwiGLU, false, 1500 }),
	}
}

// random weights; of the layers' blocks a third is not zero where blocks are wanted.
func random(t testing.TB, c arch.Config, blocks bool) *student.Weights {
	t.Helper()
	w, err := student.NewWeights(c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 9))
	_ = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			for i := range *v {
				(*v)[i] = 1 + float32(r.NormFloat64())/8
			}
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(max(-127, min(127, r.NormFloat64()*40)))
			if row, col := i/m.Cols/4, i%m.Cols/8; blocks && (row*7+col*5)%3 > 0 && strings.HasPrefix(name, "model.layers.") {
				m.Q[i] = 0
			}
		}
		for i := range m.Scale {
			m.Scale[i] = float32(0.5+r.Float64()) / 400
		}
		for i := range m.Bias {
			m.Bias[i] = float32(r.NormFloat64()) / 8
		}
		return nil
	})
	return w
}

func needCompiler(t *testing.T) {
	t.Helper()
	if _, err := Compiler(); err != nil {
		t.Skip(err)
	}
}

// The C compiles without a warning, and has one digest with and without optimisation, in one file and in six, under any name.
func TestOneDigest(t *testing.T) {
	needCompiler(t)
	ctx := context.Background()
	strict := []string{"-Wall", "-Wextra", "-Wpedantic", "-Wno-unused-local-typedefs", "-Werror"}
	for name, c := range configs() {
		for _, blocks := range []bool{false, true} {
			w := random(t, c, blocks)
			files, err := Write(w, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(files["model.h"]), "#define STUDENT_BLOCKS 1"); got != blocks {
				t.Errorf("%s: in blocks: %v, want %v", name, got, blocks)
			}
			want, err := Run(ctx, files, "", "", strict...)
			if err != nil {
				t.Fatal(err)
			}
			slow, err := Run(ctx, files, "", "", append(strict, "-O0", "-DSTUDENT_SOFT_FLOAT=1", "-DSTUDENT_PORTABLE")...)
			if err != nil {
				t.Fatal(err)
			}
			if slow.Proof != want.Proof {
				t.Errorf("%s: without optimisation, with integers for floats: %v, want %v", name, slow.Proof, want.Proof)
			}
			one, err := Write(w, nil, Options{SingleFile: true, Name: "oracle_1"})
			if err != nil || len(one) != 1 || one["oracle_1.h"] == nil {
				t.Fatalf("%v: %v", one.Names(), err)
			}
			if strings.Contains(string(one["oracle_1.h"]), "student_") {
				t.Errorf("a name of the usual one is left")
			}
			single, err := Run(ctx, one, "oracle_1", "", strict...)
			if err != nil {
				t.Fatal(err)
			}
			if single.Proof != want.Proof {
				t.Errorf("%s: in one file: %v, want %v", name, single.Proof, want.Proof)
			}
		}
	}
}

// Sanitizers find nothing.
func TestSanitizers(t *testing.T) {
	needCompiler(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for name, c := range configs() {
		files, err := Write(random(t, c, name == "odd"), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(context.Background(), files, "", "", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Beside matrices in blocks there are some without an index. clang's sanitizer sees what is added to a pointer that is NULL.
func TestNoIndex(t *testing.T) {
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("there is no clang")
	}
	files, err := Write(random(t, configs()["usual"], true), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), files, "", "clang", "-O1", "-fsanitize=pointer-overflow", "-fsanitize-trap=pointer-overflow"); err != nil {
		t.Error(err)
	}
}

// Flags that change the bits are refused.
func TestGuards(t *testing.T) {
	needCompiler(t)
	files, err := Write(random(t, configs()["usual"], false), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), files, "", "", "-ffast-math"); err == nil || !strings.Contains(err.Error(), "do not compile with -ffast-math") {
		t.Errorf("-ffast-math: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"1st", "my-model", "a b", "ä", "uint8", strings.Repeat("x", 32), "_x"} {
		var e *NameError
		if _, err := Write(random(t, configs()["usual"], false), nil, Options{Name: bad}); !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// program compiles an export with a main, and returns what runs it on a text.
func program(t *testing.T, files Files, main string) func(stdin string) []string {
	t.Helper()
	dir := t.TempDir()
	files["main.c"] = []byte(main)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cc, err := Compiler()
	if err != nil {
		t.Skip(err)
	}
	args := []string{"-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-local-typedefs", "-fsanitize=address,undefined", "main.c", "student.c", "model.c", "-o", "program"}
	if files["text.c"] != nil {
		args = append(args, "text.c")
	}
	cmd := exec.Command(cc, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(stdin string) []string {
		run := exec.Command(filepath.Join(dir, "program"))
		run.Stdin = strings.NewReader(stdin)
		out, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
}

// The device cuts a text into the same tokens.
func TestTokens(t *testing.T) {
	text := "It's the dog's 12 hats, we'll see: don't\tyou\n\n  think?  They've 3.5 ways (naïve Übermut §5 ²) 'tis l'été!  \n"
	chars, err := tokenizer.NewChars(text, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	bpe, err := tokenizer.TrainBPE(strings.Repeat(text, 3), 300, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	const main = `#include <stdio.h>
#include "student.h"
static char line[4096];
int main(void) {
  static int32_t tokens[4096];
  int32_t n, i, k, bytes;
  n = (int32_t)fread(line, 1, sizeof line - 1, stdin);
  line[n] = 0;
  n = student_encode(line, tokens, 4096);
  printf("%d:", (int)n);
  for (i = 0; i < n; i++) printf(" %d", (int)tokens[i]);
  printf("\n");
  for (i = 0; i < n; i++) {
    const char *piece = student_piece(tokens[i], &bytes);
    for (k = 0; k < bytes; k++) putchar(piece[k]);
  }
  return 0;
}
`
	for _, tok := range []tokenizer.Tokenizer{chars, bpe} {
		files, err := Write(random(t, tiny(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false), tok, Options{})
		if err != nil {
			t.Fatal(err)
		}
		run := program(t, files, main)
		for _, s := range []string{text, "", "  ", "the dog's", tokenizer.EndOfText + "a" + tokenizer.EndOfText, "  s  ", "'s", "'", "x" + tokenizer.EndOfText[:5], " \n\t ü"} {
			ids, err := tok.Encode(s)
			want := fmt.Sprintf("%d:", len(ids))
			for _, id := range ids {
				want += fmt.Sprintf(" %d", id)
			}
			if err != nil {
				want = "-1:"
			}
			out := run(s)
			if out[0] != want {
				t.Errorf("%T of %q: %s, want %s", tok, s, out[0], want)
			}
			if got := strings.Join(out[1:], "\n"); err == nil && got != strings.TrimSuffix(s, "\n") {
				t.Errorf("%T: %q comes back as %q", tok, s, got)
			}
		}
		if out := run("中"); out[0] != "-1:" {
			t.Errorf("%T: a character that it does not know: %s", tok, out[0])
		}
	}
}

// What the device answers is always legal, whatever the weights are.
func TestLegal(t *testing.T) {
	const main = `#include <stdio.h>
#include "student.h"
static student_state state;
static char line[128];
int main(void) {
  while (fgets(line, sizeof line, stdin)) {
    int i;
    for (i = 0; line[i] && line[i] != '\n'; i++) {}
    line[i] = 0;
    printf("%d\n", student_play(&state, line));
  }
  return 0;
}
`
	for _, name := range task.Names() {
		if none := (*task.RulesError)(nil); errors.As(second(task.Rules(name)), &none) {
			continue // its answers are texts
		}
		game, err := task.New(name, task.Options{Positions: 300, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.NewChars(game.Alphabet())
		if err != nil {
			t.Fatal(err)
		}
		files, err := Write(random(t, tiny(func(c *arch.Config) { c.VocabSize, c.Context = tok.VocabSize(), 43 }), false), tok, Options{Task: name})
		if err != nil {
			t.Fatal(err)
		}
		examples, err := game.Examples(context.Background(), task.All)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := task.Rules(name)
		if err != nil {
			t.Fatal(err)
		}
		var lines strings.Builder
		for _, x := range examples {
			lines.WriteString(x.Prompt + "\n")
		}
		seen := map[byte]bool{}
		for i, got := range program(t, files, main)(lines.String() + "nonsense\n\n") {
			if i >= len(examples) {
				if got != "-1" {
					t.Errorf("%s: what is no prompt is answered with %s", name, got)
				}
				continue
			}
			var answer int
			if _, err := fmt.Sscan(got, &answer); err != nil {
				t.Fatal(err)
			}
			legal := false
			for _, r := range rules {
				legal = legal || examples[i].Prompt[r.At] == r.Is && answer == int(r.Answer)
			}
			if !legal {
				t.Fatalf("%s: %q is answered with %d", name, examples[i].Prompt, answer)
			}
			seen[byte(answer)] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: always the same answer", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Every target was measured, and a model with parts that were not measured together has a size all the same.
func TestSizes(t *testing.T) {
	for name, c := range configs() {
		p, err := Predict(random(t, c, true), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, cost := range p.Costs {
			if cost.Greedy < 1000 || cost.Code < cost.Greedy || cost.Flash < p.Weights+p.Tables+cost.Code || cost.Stack == 0 || cost.Instructions == 0 {
				t.Errorf("%s (%s): %+v", name, p.Parts, cost)
			}
			var large *TooLargeError
			if err := p.Fits(cost.Flash-1, cost.Target); !errors.As(err, &large) || large.Got != cost.Flash {
				t.Errorf("%s: %v", name, err)
			}
			if err := p.Fits(cost.Flash, cost.Target); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	usual := tiny(func(c *arch.Config) { c.QKNorm = true })
	p, err := Predict(random(t, usual, false), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := table.code["cortex-m4f rms-relu2-rope1"]; c.greedy == 0 || c.greedy > 2355 || c.sampling > 3276 {
		t.Errorf("on a Cortex-M4F the code takes %d bytes and %d with sampling, 2355 and 3276 are allowed", c.greedy, c.sampling)
	}
	for _, cost := range p.Costs {
		if !cost.Known {
			t.Errorf("%s was not measured: go test ./bench/mcu -run Update -update", cost.Target)
		}
	}
}
