package export

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/compress/quant"
	"mito/engine/export/c99"
	"mito/engine/files"
)

// The C of a student has its digest, in parts, wherever there is a compiler; one weight changed by one is noticed.
func TestC(t *testing.T) {
	if _, err := c99.Compiler(); err != nil {
		t.Skip(err)
	}
	ctx := context.Background()
	for as, c := range configs() {
		_, int8 := models(t, c)
		s, err := Open(int8)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		r, err := cFolder.Write(ctx, s, out, Options{})
		if err != nil {
			t.Fatalf("%s: %v", as, err)
		}
		if r.Digest != digest(t, int8) || r.Plan == nil || r.Plan.RAM == 0 {
			t.Errorf("%s: %+v", as, r)
		}
		if said, err := cFolder.Prove(ctx, out, Options{}); err != nil || !strings.Contains(said, r.Digest) {
			t.Errorf("%s: %s, %v", as, said, err)
		}
		var foreign *files.ForeignError
		if _, err := cFolder.Write(ctx, s, out, Options{}); !errors.As(err, &foreign) {
			t.Errorf("%s: written over: %v", as, err)
		}
		name := filepath.Join(out, "model.c")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i := strings.Index(string(text), ",") // behind the first weight
		for text[i-1] < '1' || text[i-1] > '8' {
			i += 1 + strings.Index(string(text[i+1:]), ",")
		}
		text[i-1]++
		if err := os.WriteFile(name, text, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := cFolder.Prove(ctx, out, Options{}); err == nil {
			t.Errorf("%s: another weight is not noticed", as)
		}
		if testing.Short() {
			break
		}
	}
}

// A student in codes of fewer bits takes less flash on a device than in bytes, and keeps its digest.
func TestCInCodes(t *testing.T) {
	if _, err := c99.Compiler(); err != nil {
		t.Skip(err)
	}
	ctx := context.Background()
	rules, err := quant.ParseRules("mlp.*=4,embed=6,attn.*=5")
	if err != nil {
		t.Fatal(err)
	}
	plan := map[bool]*c99.Plan{}
	for coded, bits := range map[bool][]quant.Rule{false: nil, true: rules} {
		_, int8 := models(t, configs()["apertus"], bits...)
		s, err := Open(int8)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		r, err := cFolder.Write(ctx, s, out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan[coded] = r.Plan
		if said, err := cFolder.Prove(ctx, out, Options{}); err != nil || !strings.Contains(said, digest(t, int8)) {
			t.Errorf("in codes %v: %s, %v", coded, said, err)
		}
	}
	if got, whole := plan[true].Weights, plan[false].Weights; got*4 > whole*3 {
		t.Errorf("in codes %d bytes of weights, %d without", got, whole)
	}
}

func TestCRefuses(t *testing.T) {
	float, int8 := models(t, configs()["arcee"])
	for says, x := range map[string]struct {
		from string
		o    COptions
	}{
		"mito quantize":      {float, COptions{}},
		"identifier":         {int8, COptions{Name: "a-b"}},
		"unknown task":       {int8, COptions{Task: "go"}},
		"unknown target":     {int8, COptions{Target: "abacus"}},
		"4096 are there":     {int8, COptions{Flash: 4096}},
		"need the tokenizer": {int8, COptions{Task: "tictactoe"}},
	} {
		s, err := Open(x.from)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cFolder.Write(context.Background(), s, filepath.Join(t.TempDir(), "out"), Options{C: x.o}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", x.o, err, says)
		}
	}
	if err := huggingFace.Settle(&Options{C: COptions{Name: "x"}}); err == nil {
		t.Error("a name for transformers")
	}
}
