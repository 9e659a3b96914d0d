package c99

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// player is a model of a game with text, exponentials and norms of heads: most of the code.
func player(t *testing.T, o Options) Files {
	t.Helper()
	o.Task = "tictactoe"
	game, err := task.New(o.Task, task.Options{Positions: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewChars(game.Alphabet())
	if err != nil {
		t.Fatal(err)
	}
	c := tiny(func(c *arch.Config) { c.VocabSize, c.Activation, c.QKNorm = tok.VocabSize(), arch.ActSwiGLU, true })
	files, err := Write(random(t, c, true), tok, o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// compile runs compilers in a folder with the files, each line a command with its arguments.
func compile(t *testing.T, files Files, lines ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range lines {
		f := strings.Fields(line)
		cmd := exec.Command(f[0], f[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// One file takes no names that <unistd.h> and <math.h> have, of C23 too, and leaves no short macros behind.
func TestSingleFileBesideOthers(t *testing.T) {
	needCompiler(t)
	cc, _ := Compiler()
	files := player(t, Options{SingleFile: true})
	files["main.c"] = []byte(`#include <math.h>
#include <unistd.h>
double rsqrt(double x);
#define STUDENT_IMPLEMENTATION
#include "student.single.h"
enum { PART, COPY, M, HAS, ROUND4, INFINITE, NOT_A_NUMBER, NORM, WITH, STATE, BIAS_OF, ROTATE, A, ENCODE };
static student_state state;
int main(void) { return A + student_play(&state, "") != A - 1; }
`)
	compile(t, files, cc+" -std=gnu11 -Wall -Wextra -Werror -Wno-unused-local-typedefs -DSTUDENT_DIGEST=1 main.c -o program", "./program")
}

// A program in C++ calls the model's C, of which the header says that it is C.
func TestCPlusPlus(t *testing.T) {
	needCompiler(t)
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("there is no g++")
	}
	cc, _ := Compiler()
	for _, o := range []Options{{}, {SingleFile: true}} {
		files, header, sources := player(t, o), "student.h", "student.c model.c text.c"
		if o.SingleFile {
			header, sources = singleName, "one.c"
			files["one.c"] = []byte("#define STUDENT_IMPLEMENTATION\n#include \"" + header + "\"\n")
		}
		files["main.cc"] = []byte("#include \"" + header + "\"\nstatic student_state state;\nint main() { return student_play(&state, \"\") != -1; }\n")
		compile(t, files, cc+" -std=c99 -c "+sources, "g++ -Wall -Wextra -Werror -c main.cc",
			"g++ main.o "+strings.ReplaceAll(sources, ".c", ".o")+" -o program", "./program")
	}
}
