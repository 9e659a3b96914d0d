package mcu

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/export/c99"
)

// models are small ones that together have every part.
func models(t testing.TB) map[string]c99.Files {
	small := func(change func(c *arch.Config)) arch.Config {
		return config(func(c *arch.Config) {
			c.VocabSize, c.HiddenSize, c.IntermediateSize, c.HeadDim, c.Context = 8, 16, 16, 4, 9
			change(c)
		})
	}
	return map[string]c99.Files{
		"dense":  written(t, small(func(c *arch.Config) { c.QKNorm, c.Window = true, 5 }), form{}, nil, ""),
		"blocks": written(t, small(func(c *arch.Config) { c.TieEmbeddings, c.PLEDim = false, 24 }), form{blocks: true}, nil, ""),
		"gpt":    written(t, small(gpt), form{bits: 3}, nil, ""),
		"llama":  written(t, small(func(c *arch.Config) { c.Activation, c.PLEDim = arch.ActSwiGLU, 6 }), form{bits: 4}, nil, ""),
	}
}

// digests are those of the models, compiled here.
func digests(t testing.TB, list map[string]c99.Files) map[string]string {
	out := map[string]string{}
	for name, files := range list {
		c, err := c99.Run(context.Background(), files, "", "")
		if err != nil {
			t.Skip(err)
		}
		out[name] = fmt.Sprintln(c.Proof.Digest, c.Proof.Functions, c.Proof.Stream, c.Proof.Weights)
	}
	return out
}

// One digest on every board, without an operating system: of all models at -Os, of one at -O3 too.
func TestBoards(t *testing.T) {
	boards := present(t)
	list := models(t)
	want := digests(t, list)
	for i := range boards {
		b := &boards[i]
		for name, files := range list {
			levels := []string{"-Os", "-O3"}
			if testing.Short() || name != "dense" {
				levels = levels[:1]
			}
			for _, level := range levels {
				p, err := b.build(context.Background(), files, t.TempDir(), whatDigest, level, "-DSTUDENT_DIGEST=1", "-DSTUDENT_SELFTEST=0")
				if err != nil {
					t.Fatal(err)
				}
				got, err := p.run(context.Background(), 0)
				if err != nil {
					t.Fatal(err)
				}
				if got != want[name] {
					t.Errorf("%s, %s %s: digest %s, want %s", b.Name, name, level, got, want[name])
				}
			}
		}
		t.Logf("%s: one digest", b.Name)
	}
}

// Target is a compiler and an emulator for programs of Linux.
type target struct {
	name, compiler string
	emulator       string // "" for this machine
	args           []string
}

var targets = []target{
	{"gcc -O0", "gcc", "", []string{"-O0"}}, {"gcc -O2", "gcc", "", []string{"-O2"}}, {"gcc -O3 -march=native", "gcc", "", []string{"-O3", "-march=native"}},
	{"gcc -Os", "gcc", "", []string{"-Os"}}, {"clang -O0", "clang", "", []string{"-O0"}}, {"clang -O3 -march=native", "clang", "", []string{"-O3", "-march=native"}},
	{"x86 of 32 bits", "i686-linux-gnu-gcc", "qemu-i386-static", []string{"-static", "-msse2", "-mfpmath=sse"}},
	{"arm", "arm-linux-gnueabihf-gcc", "qemu-arm-static", []string{"-static"}},
	{"aarch64", "aarch64-linux-gnu-gcc", "qemu-aarch64-static", []string{"-static"}},
	{"riscv64", "riscv64-linux-gnu-gcc", "qemu-riscv64-static", []string{"-static"}},
	{"s390x", "s390x-linux-gnu-gcc", "qemu-s390x-static", []string{"-static", "-fexcess-precision=fast"}},
}

// One digest of every compiler and every architecture.
func TestCompilers(t *testing.T) {
	if !*onBoards {
		t.Skip("go test ./bench/mcu -boards compiles with what is installed")
	}
	list := models(t)
	want := digests(t, list)
	for _, x := range targets {
		if _, err := exec.LookPath(x.compiler); err != nil {
			t.Logf("%s is left out: there is no %s", x.name, x.compiler)
			continue
		}
		for name, files := range list {
			if testing.Short() && name != "dense" {
				continue
			}
			got, err := c99.RunIn(context.Background(), x.emulator, files, "", x.compiler, x.args...)
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
				continue
			}
			if p := got.Proof; fmt.Sprintln(p.Digest, p.Functions, p.Stream, p.Weights) != want[name] {
				t.Errorf("%s, %s: %v, want %s", x.name, name, p, want[name])
			}
		}
		t.Logf("%s: one digest", x.name)
	}
}

// What is predicted is what the linker places and what the stack is painted over with; instructions are not far off.
func TestPredictions(t *testing.T) {
	boards := present(t)
	c := config(func(c *arch.Config) { c.QKNorm, c.HiddenSize = true, 48 }) // no model that was measured for the table
	for i := range boards {
		b := &boards[i]
		w := weights(t, c, false)
		plan, err := c99.Predict(w, nil, c99.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var cost c99.Cost
		for _, x := range plan.Costs {
			if x.Target == b.Name {
				cost = x
			}
		}
		if !cost.Known {
			t.Logf("%s is not in sizes.txt: go test ./bench/mcu -run Update -update measures it", b.Name)
			continue
		}
		line := measureCode(t, b, family{c, form{}})
		if want := fmt.Sprintf("code %s %s %d", b.Name, plan.Parts, cost.Greedy); !strings.HasPrefix(line, want) || !strings.HasSuffix(line, fmt.Sprintf("%d %d %d", cost.Code, cost.Stack, cost.BootStack)) {
			t.Errorf("measured %q, the table has %+v", line, cost)
		}
		for _, o := range observe(t, b, family{c, form{}})[1:] {
			if share := float64(cost.Instructions) / o.instructions; share < 0.9 || share > 1.1 {
				t.Errorf("%s: %d instructions predicted, %.0f counted", b.Name, cost.Instructions, o.instructions)
			}
		}
		if testing.Short() {
			break
		}
	}
}
