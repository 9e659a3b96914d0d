package export

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/export/web"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// withTokenizer is an INT8 student with the tokenizer of models.
func withTokenizer(t *testing.T) *Source {
	t.Helper()
	_, int8 := models(t, configs()["arcee"])
	w, err := quant.Load(int8)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewChars("abc de\n")
	if err != nil {
		t.Fatal(err)
	}
	contents, err := quant.Contents(w, nil)
	if err != nil {
		t.Fatal(err)
	}
	contents.SaveTokenizer = tok.Save
	dir := filepath.Join(t.TempDir(), "student")
	if err := checkpoint.Save(dir, contents); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A page has the digest of its student, and is not written over anything.
func TestWeb(t *testing.T) {
	s := withTokenizer(t)
	out := filepath.Join(t.TempDir(), "A & B.html")
	r, err := webPage.Write(t.Context(), s, out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest != digest(t, s.Dir) || r.Bytes != int64(len(page)) || !strings.Contains(string(page), `"digest":"`+r.Digest) || !strings.Contains(string(page), "<title>A &amp; B</title>") {
		t.Errorf("%+v", r)
	}
	var foreign *files.ForeignError
	if _, err := webPage.Write(t.Context(), s, out, Options{}); !errors.As(err, &foreign) {
		t.Errorf("written over: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := webPage.Write(stopped, s, out+"2", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a page that was stopped is there")
	}
}

func TestWebRefuses(t *testing.T) {
	float, int8 := models(t, configs()["arcee"])
	s := withTokenizer(t)
	open := func(dir string) *Source {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for says, x := range map[string]struct {
		from *Source
		o    Options
	}{
		"mito quantize":            {open(float), Options{}},
		web.ErrNoTokenizer.Error(): {open(int8), Options{}},
		"unknown task":             {s, Options{C: COptions{Task: "go"}}},
		"has no board":             {s, Options{C: COptions{Task: "lottery"}}},
		"was made for something":   {s, Options{C: COptions{Task: "tictactoe"}}},
		"--no-tokenizer":           {s, Options{NoTokenizer: true}},
	} {
		out := filepath.Join(t.TempDir(), "out")
		if _, err := webPage.Write(t.Context(), x.from, out, x.o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", x.o, err, says)
		}
	}
	for _, o := range []Options{{FullAttention: true}, {Type: "F32"}, {C: COptions{Name: "x"}}, {C: COptions{Flash: 1}}} {
		if err := webPage.Settle(&o); err == nil {
			t.Errorf("%+v is not refused", o)
		}
	}
	if err := webPage.Settle(&Options{C: COptions{Task: "tictactoe"}}); err != nil {
		t.Error(err)
	}
	if err := huggingFace.Settle(&Options{C: COptions{Task: "tictactoe"}}); err == nil {
		t.Error("a task for transformers")
	}
}
