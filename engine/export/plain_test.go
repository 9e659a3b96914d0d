package export

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/export/shape"
	"mito/engine/files"
)

// What is written for a runtime computes, read again, what the model does: bit for bit where the type does not round.
func TestRuntimes(t *testing.T) {
	float, int8 := models(t, config(func(c *arch.Config) {}))
	swiglu, _ := models(t, config(func(c *arch.Config) { c.Activation, c.RoPETheta = arch.ActSwiGLU, 10000 }))
	for name, x := range map[string]struct {
		format Format
		from   string
		o      Options
	}{
		"gguf":         {ggufFile, float, Options{}},
		"gguf of INT8": {ggufFile, int8, Options{}},
		"gguf F16":     {ggufFile, float, Options{Type: "F16"}},
		"gguf Q8_0":    {ggufFile, int8, Options{Type: "Q8_0"}},
		"gguf Q4_0":    {ggufFile, float, Options{Type: "Q4_0", NoTokenizer: true}},
		"llama2c":      {llama2cFolder, swiglu, Options{}},
		"llama2c Q8_0": {llama2cFolder, swiglu, Options{Type: "Q8_0"}},
		"onnx":         {onnxFile, float, Options{}},
		"onnx of INT8": {onnxFile, int8, Options{}},
		"onnx INT8":    {onnxFile, int8, Options{Type: "INT8"}},
	} {
		s, err := Open(x.from)
		if err != nil {
			t.Fatal(err)
		}
		o := x.o
		if err := x.format.Settle(&o); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		r, err := x.format.Write(context.Background(), s, out, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Bytes == 0 || r.Architecture == "" || len(r.Files) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
		worst, err := CheckWritten(x.format, s, out, o, decode.Options{})
		if exact := o.Type == "F32" || o.Type == "INT8"; err != nil || exact != (worst == 0) {
			t.Errorf("%s: differs by %v, %v", name, worst, err)
		}
		back, err := x.format.Open(out, decode.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if (back.Tokenizer() == nil) != (o.NoTokenizer || s.Tok == nil) {
			t.Errorf("%s: a tokenizer is missing, or there in spite of the option", name)
		}
		var foreign *files.ForeignError
		if _, err := x.format.Write(context.Background(), s, out, o); !errors.As(err, &foreign) {
			t.Errorf("%s: written over: %v", name, err)
		}
	}
}

// Another model does not pass for a rounding.
func TestWrongRounding(t *testing.T) {
	a, _ := models(t, config(func(c *arch.Config) {}))
	b, _ := models(t, config(func(c *arch.Config) { c.RoPETheta = 3 }))
	x, err := decode.Open(a, decode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := decode.Open(b, decode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var e *DifferenceError
	if _, err := Check(x, y, roundings["Q8_0"]); !errors.As(err, &e) || e.Got <= e.Allowed || e.Allowed == 0 {
		t.Errorf("another model passes: %v", err)
	}
}

// A window is refused where the runtime has none, its twin is written, and a graph says it.
func TestWindows(t *testing.T) {
	float, _ := models(t, configs()["mito"]) // it has windows of 5
	s, err := Open(float)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var e *shape.Error
	if _, err := ggufFile.Write(context.Background(), s, filepath.Join(dir, "a"), Options{Type: "F32"}); !errors.As(err, &e) || !strings.Contains(err.Error(), "--full-attention") {
		t.Errorf("a window: %v", err)
	}
	if _, err := ggufFile.Write(context.Background(), s, filepath.Join(dir, "b"), Options{Type: "F32", FullAttention: true}); err != nil {
		t.Fatal(err)
	}
	twin, err := ggufFile.Open(filepath.Join(dir, "b"), decode.Options{})
	if err != nil || twin.Context() != 5 {
		t.Fatalf("the twin: %v", err)
	}
	own, err := decode.Open(float, decode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if worst, err := Check(own, twin, 0); err != nil || worst != 0 {
		t.Errorf("the twin differs by %v: %v", worst, err)
	}
	if _, err := onnxFile.Write(context.Background(), s, filepath.Join(dir, "c"), Options{Type: "F32"}); err != nil {
		t.Errorf("a graph: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, x := range []struct {
		format     Format
		kind, says string
	}{
		{huggingFace, "F16", "keeps the weights"}, {ggufFile, "Q6_K", "gguf has F32, F16, Q8_0, Q4_0"}, {onnxFile, "Q8_0", "onnx has F32, INT8"},
	} {
		o := Options{Type: x.kind}
		var e *OptionError
		if err := x.format.Settle(&o); !errors.As(err, &e) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s of %s: %v", x.kind, x.format.Name, err)
		}
	}
	float, _ := models(t, config(func(c *arch.Config) {}))
	s, err := Open(float)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onnxFile.Write(context.Background(), s, filepath.Join(t.TempDir(), "x"), Options{Type: "INT8"}); !errors.Is(err, errFloatCodes) {
		t.Errorf("codes of floats: %v", err)
	}
}
