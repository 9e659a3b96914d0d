package importer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/decode"
	"mito/engine/export"
	"mito/engine/tokenizer"
)

// write exports the folder of a llama with a tokenizer in a format.
func write(t *testing.T, format string) (out string, from *export.Source) {
	t.Helper()
	m, err := huggingFace.Read(context.Background(), llama(t, strings.NewReplacer("5000.0", "10000.0", "1e-06", "1e-05").Replace(llamaConfig)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Tokenizer, err = tokenizer.NewChars("abcdef\n", tokenizer.EndOfText); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "model")
	if _, err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	if from, err = export.Open(dir); err != nil {
		t.Fatal(err)
	}
	f, err := export.Find(format)
	if err != nil {
		t.Fatal(err)
	}
	o := export.Options{}
	if err := f.Settle(&o); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(t.TempDir(), "out")
	if _, err := f.Write(context.Background(), from, out, o); err != nil {
		t.Fatal(err)
	}
	return out, from
}

// What is exported comes back with the same tensors, tokenizer and end of text.
func TestThereAndBack(t *testing.T) {
	for _, f := range []Format{ggufFile, llama2cFile} {
		file, from := write(t, f.Name)
		m, err := f.Read(context.Background(), file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if _, err := m.Save(out); err != nil {
			t.Fatal(err)
		}
		if worst, err := m.Check(out, decode.Options{}); err != nil || worst != 0 {
			t.Errorf("%s: differs by %v, %v", f.Name, worst, err)
		}
		back, err := checkpoint.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := from.Folder.WeightsSHA256()
		b, err := back.WeightsSHA256()
		if err != nil || a != b || m.Tokenizer.Hash() != from.Tok.Hash() || len(back.Generation.EOS) != 1 || back.Generation.EOS[0] != from.Tok.EOS() {
			t.Errorf("%s: weights, tokenizer or end of text are others: %+v, %v", f.Name, back.Generation, err)
		}
		if m, err = f.Read(context.Background(), file, Options{NoTokenizer: true}); err != nil || m.Tokenizer != nil {
			t.Errorf("%s: a tokenizer that was not wanted; %v", f.Name, err)
		}
	}
}

func TestPlainRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return at
	}
	zip := path("pytorch_model.bin", "PK\x03\x04"+strings.Repeat("x", 100))
	for _, x := range []struct {
		format     Format
		path, says string
	}{
		{llama2cFile, zip, "pickle of Python, which can run any program"},
		{llama2cFile, path("old.bin", "\x80\x02}q\x00."+strings.Repeat("x", 100)), "save_pretrained"},
		{ggufFile, zip, "pickle"},
		{ggufFile, path("a.gguf", "GGML....................."), "does not begin with GGUF"},
		{llama2cFile, path("b.bin", strings.Repeat("\x01", 400)), "is this a file of llama2.c?"},
		{ggufFile, filepath.Join(dir, "none"), "no such file"},
	} {
		if _, err := x.format.Read(context.Background(), x.path, Options{}); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: want %q, got %v", x.path, x.says, err)
		}
	}
	folder, _ := write(t, "llama2c")
	if err := os.Remove(filepath.Join(folder, tokenizer.FileName)); err != nil {
		t.Fatal(err)
	}
	if _, err := llama2cFile.Read(context.Background(), folder, Options{}); err == nil || !strings.Contains(err.Error(), "SentencePiece") {
		t.Errorf("tokenizer.bin alone: %v", err)
	}
	if m, err := llama2cFile.Read(context.Background(), folder, Options{NoTokenizer: true}); err != nil || m.Tokenizer != nil {
		t.Errorf("the weights alone: %v", err)
	}
}
