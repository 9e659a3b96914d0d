package web

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"strings"

	"mito/engine/export/c99"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

//go:embed page wasm/scalar.wasm wasm/simd.wasm
var parts embed.FS

// scripts are joined to the page's one.
var scripts = []string{"runtime.js", "text.js", "board.js", "main.js"}

// Options of Write.
type Options struct {
	Title  string
	Task   string // to be played on a board; "" for none
	Digest string // that the page must compute
}

// ErrNoTokenizer refuses a model whose tokens mean nothing.
var ErrNoTokenizer = errors.New("a page writes text, and the model has no tokenizer")

// TokenizerError reports a tokenizer that the page cannot do.
type TokenizerError struct{ What string }

func (e *TokenizerError) Error() string {
	return fmt.Sprintf("the tokenizer %s, which a page does not do; a student of characters or bytes can have one: mito distill --tokenizer chars, or bytes", e.What)
}

// Limits of a model in a page.
const (
	// largestVocab keeps the page quick: it looks at every token where some are masked.
	largestVocab = 1 << 16
	// largestMemory leaves addresses positive, and is more than pages have on most machines.
	largestMemory = 1 << 30
)

// game is a board with what people call it.
type game struct {
	task.Board
	Title string `json:"title"`
}

// newGame describes a task in the format that a model was made for.
func newGame(name string, tok tokenizer.Tokenizer) (*game, error) {
	knows := func(text string) bool { _, err := tok.Encode(text); return err == nil }
	format := task.FormatOf(name, knows)
	board, err := task.BoardOf(name, format)
	if err != nil {
		return nil, err
	}
	t, err := task.New(name, task.Options{Format: format})
	if err != nil {
		return nil, err
	}
	if !knows(t.Alphabet()) {
		return nil, &AlphabetError{name}
	}
	return &game{board, titles[name]}, nil
}

// AlphabetError reports a model that does not know the characters of a task.
type AlphabetError struct{ Task string }

func (e *AlphabetError) Error() string {
	return fmt.Sprintf("the model has no tokens for the prompts of %s: it was made for something else", e.Task)
}

// titles of the tasks.
var titles = map[string]string{"tictactoe": "Tic-tac-toe", "connect4": "Connect four", "puzzle8": "Eight puzzle", "othello": "Othello, six by six"}

// facts are what the scripts know of a model.
type facts struct {
	Digest     string `json:"digest"`
	Base       int    `json:"base"`  // address of the image
	State      int    `json:"state"` // bytes
	Vocab      int    `json:"vocab"`
	Known      int    `json:"known"` // tokens that the tokenizer has
	Context    int    `json:"context"`
	EOS        int32  `json:"eos"` // -1 for none
	Parameters int    `json:"parameters"`
	Game       *game  `json:"game"`
}

// Write makes the page of a student. Errors: ErrNoTokenizer, *TokenizerError, *AlphabetError, *task.BoardError, *c99.TooLargeError, those of c99.WriteImage.
func Write(w *student.Weights, tok tokenizer.Tokenizer, o Options) ([]byte, error) {
	if tok == nil {
		return nil, ErrNoTokenizer
	}
	c := w.Config
	if c.VocabSize > largestVocab {
		return nil, &c99.TooLargeError{What: "a mask of tokens", Got: (c.VocabSize + 7) / 8, Limit: largestVocab / 8}
	}
	image, err := c99.WriteImage(w, tok)
	if e := (*c99.TokenizerError)(nil); errors.As(err, &e) {
		return nil, &TokenizerError{e.What}
	}
	if err != nil {
		return nil, err
	}
	if n := len(image.Bytes) + image.State; n > largestMemory {
		return nil, &c99.TooLargeError{What: "a browser's memory", Got: n, Limit: largestMemory}
	}
	f := facts{
		Digest: o.Digest, Base: c99.ImageBase, State: image.State, Vocab: c.VocabSize, Known: min(tok.VocabSize(), c.VocabSize),
		Context: c.Context, EOS: tok.EOS(), Parameters: int(c.Params()),
	}
	if o.Task != "" {
		if f.Game, err = newGame(o.Task, tok); err != nil {
			return nil, err
		}
	}
	return build(o.Title, f, image.Bytes)
}

// build puts a page together.
func build(title string, f facts, image []byte) ([]byte, error) {
	read := func(name string) []byte {
		text, err := parts.ReadFile(name)
		if err != nil {
			panic(err) // of what is compiled in
		}
		return text
	}
	var script strings.Builder
	for _, name := range scripts {
		script.Write(read("page/" + name))
	}
	simd, err := deflated(read("wasm/simd.wasm"))
	if err != nil {
		return nil, err
	}
	about, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	style, encode := string(read("page/page.css")), base64.StdEncoding.EncodeToString
	page := strings.NewReplacer(
		"{{policy}}", policy(script.String(), style), "{{title}}", html.EscapeString(title), "{{style}}", style, "{{script}}", script.String(),
		"{{model}}", string(about), "{{simd}}", encode(simd), "{{scalar}}", encode(read("wasm/scalar.wasm")), "{{image}}", encode(image),
	)
	return []byte(page.Replace(string(read("page/page.html")))), nil
}

// policy lets the page run its own script and style, which it names by their hashes, and load nothing.
func policy(script, style string) string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return fmt.Sprintf("default-src 'none'; script-src %s 'wasm-unsafe-eval'; style-src %s; img-src data:; base-uri 'none'; form-action 'none'",
		hash(script), hash(style))
}

// deflated compresses, without a header (RFC 1951).
func deflated(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
