package web

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/export/c99"
	"mito/engine/internal/testmodels"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// shape is a small model, changed.
func shape(change func(c *arch.Config)) arch.Config {
	c := testmodels.Edge()
	change(&c)
	return c
}

// shapes have every part that a model may have, and a context that the digest does not go through.
func shapes() map[string]arch.Config {
	all := testmodels.Configs()
	all["long"] = shape(func(c *arch.Config) { c.Context, c.HeadDim = 1500, 24 })
	return all
}

// random weights; of the layers' blocks a third is not zero where blocks are wanted.
func random(t testing.TB, c arch.Config, blocks bool) *student.Weights {
	t.Helper()
	w := testmodels.Student(t, c, 7)
	if !blocks {
		return w
	}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		for i := 0; m != nil && strings.HasPrefix(name, "model.layers.") && i < len(m.Q); i++ {
			if (i/m.Cols/4*7+i%m.Cols/8*5)%3 > 0 {
				m.Q[i] = 0
			}
		}
		return nil
	})
	return w
}

// letters is a tokenizer of so many characters, from 'A' on.
func letters(t testing.TB, n int) tokenizer.Tokenizer {
	t.Helper()
	var text strings.Builder
	for i := range n {
		text.WriteRune(rune('A' + i))
	}
	tok, err := tokenizer.NewChars(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// largestPage is what a page may take beside its model.
const largestPage = 60 << 10

// The page is small, loads nothing, and says its own hashes.
func TestPage(t *testing.T) {
	page, err := build("a <b> & c", facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes without a model", len(page))
	if len(page) > largestPage {
		t.Errorf("the page takes %d bytes without a model, more than %d", len(page), largestPage)
	}
	if !bytes.Contains(page, []byte("<h1>a &lt;b&gt; &amp; c</h1>")) || bytes.Contains(page, []byte("{{")) {
		t.Error("a part was not filled in")
	}
	if at := regexp.MustCompile(`(?:https?:)?//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|sendBeacon|WebSocket`).Find(page); at != nil {
		t.Errorf("the page holds %q", at)
	}
	script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindSubmatch(page)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(page)
	if !bytes.Contains(page, []byte(policy(string(script[1]), string(style[1])))) {
		t.Error("the policy names other hashes than those of script and style")
	}
}

// A title or a vocabulary may hold anything.
func TestDataStaysData(t *testing.T) {
	page, err := build("</title><script>", facts{Game: &game{Board: task.Board{Cells: []task.Cell{{Chars: "</script><!--"}}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(page, []byte("<script")); n != 5 {
		t.Errorf("%d scripts, want 5", n)
	}
}

func TestRefuses(t *testing.T) {
	w := random(t, testmodels.Edge(), false)
	if _, err := Write(w, nil, Options{}); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("without a tokenizer: %v", err)
	}
	var unknown *task.UnknownError
	if _, err := Write(w, letters(t, 37), Options{Task: "go"}); !errors.As(err, &unknown) {
		t.Errorf("an unknown task: %v", err)
	}
	var alphabet *AlphabetError
	if _, err := Write(w, letters(t, 37), Options{Task: "tictactoe"}); !errors.As(err, &alphabet) {
		t.Errorf("a task in other characters: %v", err)
	}
	var large *c99.TooLargeError
	if _, err := Write(random(t, shape(func(c *arch.Config) { c.VocabSize = largestVocab + 1 }), false), letters(t, 37), Options{}); !errors.As(err, &large) {
		t.Errorf("a large vocabulary: %v", err)
	}
}

// A tokenizer that the page cannot do is refused with what can be done.
func TestRefusesTokenizers(t *testing.T) {
	tok, err := tokenizer.Load("../../tokenizer/testdata/sentence.json")
	if err != nil {
		t.Fatal(err)
	}
	var refused *TokenizerError
	if _, err := Write(random(t, shape(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false), tok, Options{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "--tokenizer chars") {
		t.Errorf("SentencePiece: %v", err)
	}
}
