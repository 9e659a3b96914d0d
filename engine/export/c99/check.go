package c99

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrNoCompiler is returned by Check where there is no C compiler.
var ErrNoCompiler = errors.New("there is no C compiler here (cc, gcc or clang): nothing was compiled, and the digest was not compared")

// checkProgram prints what the self-test says and the digest with its parts.
const checkProgram = `#include <stdio.h>
#include "student.h"
static student_state state;
static student_word work[STUDENT_VOCAB];
int main(void) {
  char digest[65], parts[3][65];
  int failed = student_selftest(&state);
  if (student_digest(&state, work, digest, parts)) { printf("a result is no number; the self-test says %d\n", failed); return 1; }
  printf("%d %s %s %s %s\n", failed, digest, parts[0], parts[1], parts[2]);
  return 0;
}
`

// Computed is what the compiled C says.
type Computed struct {
	Selftest int // what student_selftest returns, 0 for all well
	Proof    Proof
	Compiler string
}

// Compiler finds a C compiler. Errors: ErrNoCompiler.
func Compiler() (string, error) {
	for _, name := range []string{"cc", "gcc", "clang"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoCompiler
}

// Run compiles what Write made under a name, with further arguments for the compiler, and runs it here. Errors: ErrNoCompiler, those of
// the compiler with what it says.
func Run(ctx context.Context, files Files, name, compiler string, args ...string) (c Computed, err error) {
	return RunIn(ctx, "", files, name, compiler, args...)
}

// RunIn is Run with an emulator for the program, "" for none.
func RunIn(ctx context.Context, emulator string, files Files, name, compiler string, args ...string) (c Computed, err error) {
	if compiler == "" {
		if compiler, err = Compiler(); err != nil {
			return c, err
		}
	}
	c.Compiler = compiler
	if name == "" {
		name = "student"
	}
	dir, err := os.MkdirTemp("", "mito-c-")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, sources := checkProgram, []string{"main.c"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return c, err
		}
		if strings.HasSuffix(name, ".c") && name != "selftest.c" {
			sources = append(sources, name)
		}
	}
	if len(files) == 1 {
		program = strings.Replace(program, `#include "student.h"`, "#define STUDENT_IMPLEMENTATION\n#include \""+files.Names()[0]+"\"", 1)
	}
	own := renamed(Files{"main.c": []byte(program)}, name)
	if err := os.WriteFile(filepath.Join(dir, "main.c"), own["main.c"], 0o666); err != nil {
		return c, err
	}
	all := append([]string{"-std=c99", "-O2", "-D" + strings.ToUpper(name) + "_DIGEST=1"}, args...)
	all = append(append(all, sources...), "-o", "program")
	cmd := exec.CommandContext(ctx, compiler, all...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return c, fmt.Errorf("%s %s: %w\n%s", compiler, strings.Join(all, " "), err, out)
	}
	run := exec.CommandContext(ctx, filepath.Join(dir, "program"))
	if emulator != "" {
		run = exec.CommandContext(ctx, emulator, filepath.Join(dir, "program"))
	}
	return c, c.read(run)
}

// read runs the program and takes what it prints.
func (c *Computed) read(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("the compiled program: %w: %s", err, out)
	}
	p := &c.Proof
	if _, err := fmt.Sscan(string(out), &c.Selftest, &p.Digest, &p.Functions, &p.Stream, &p.Weights); err != nil {
		return fmt.Errorf("the compiled program prints %q: %w", out, err)
	}
	return nil
}

var proved = regexp.MustCompile(`(?m)^#define [A-Za-z0-9_]+_(SHA256|FUNCTIONS|STREAM|WEIGHTS) "([0-9a-f]{64})"$`)

// ReadProof finds in the files what Write was given.
func ReadProof(files Files) (p Proof, err error) {
	to := map[string]*string{"SHA256": &p.Digest, "FUNCTIONS": &p.Functions, "STREAM": &p.Stream, "WEIGHTS": &p.Weights}
	for _, text := range files {
		for _, m := range proved.FindAllSubmatch(text, -1) {
			*to[string(m[1])] = string(m[2])
			delete(to, string(m[1]))
		}
	}
	if len(to) > 0 {
		return p, errors.New("the files do not say their digest: mito export c did not write them")
	}
	return p, nil
}

// Agrees compares what was computed with what was to be.
func (c *Computed) Agrees(want Proof) error {
	got := c.Proof
	for _, x := range []struct{ part, got, want string }{
		{"functions", got.Functions, want.Functions}, {"stream", got.Stream, want.Stream}, {"weights", got.Weights, want.Weights}, {"digest", got.Digest, want.Digest},
	} {
		if x.got != x.want {
			return fmt.Errorf("compiled with %s the C computes other bits: its %s are %s, the model's %s", c.Compiler, x.part, x.got, x.want)
		}
	}
	if c.Selftest != 0 {
		return fmt.Errorf("compiled with %s the self-test finds fault %d", c.Compiler, c.Selftest)
	}
	return nil
}

// HowToMeasure is the loop that measures a token on a board.
func HowToMeasure(name string) string {
	if name == "" {
		name = "student"
	}
	return fmt.Sprintf(`Cycles and energy are the board's to say. On Cortex-M3 and larger, with CoreDebug->DEMCR |= 1 << 24 and DWT->CTRL |= 1 before it:
  %[1]s_reset(&s); for (i = 0; i < 32 && i < %[2]s_CONTEXT; i++) { DWT->CYCCNT = 0; %[1]s_feed(&s, i %% %[2]s_VOCAB); next = %[1]s_argmax(&s, 0); cycles[i] = DWT->CYCCNT; }`,
		name, strings.ToUpper(name))
}
