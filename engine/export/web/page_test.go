package web

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/export/c99"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// shape is a small model of mito's usual shape.
func shape(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 30, HiddenSize: 16, IntermediateSize: 24, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 4,
		Context: 20, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
	change(&c)
	return c
}

// shapes have every part that a model may have, and sizes that are no multiple of anything.
func shapes() map[string]arch.Config {
	return map[string]arch.Config{
		"usual":  shape(func(c *arch.Config) { c.QKNorm, c.Layers = true, 2 }),
		"window": shape(func(c *arch.Config) { c.TieEmbeddings, c.Window = false, 9 }),
		"odd": shape(func(c *arch.Config) {
			c.VocabSize, c.HiddenSize, c.HeadDim, c.Context, c.Activation, c.MLPBias = 23, 30, 6, 21, arch.ActReLU, true
			c.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 41, Window: 4}, {Heads: 2, KVHeads: 1, IntermediateSize: 17, Scale: 0.7}})
		}),
		"gpt": shape(func(c *arch.Config) {
			c.Norm, c.Position, c.Activation, c.KVHeads, c.AttentionBias, c.MLPBias = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4, true, true
		}),
		"llama": shape(func(c *arch.Config) {
			c.Activation, c.TieEmbeddings, c.Context, c.HeadDim = arch.ActSwiGLU, false, 1500, 24
		}),
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

// letters is a tokenizer of so many characters, from 'A' on.
func letters(t testing.TB, n int) tokenizer.Tokenizer {
	t.Helper()
	var text strings.Builder
	for i := range n {
		text.WriteByte(byte('A' + i))
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
	w := random(t, shapes()["usual"], false)
	if _, err := Write(w, nil, Options{}); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("without a tokenizer: %v", err)
	}
	var unknown *task.UnknownError
	if _, err := Write(w, letters(t, 30), Options{Task: "go"}); !errors.As(err, &unknown) {
		t.Errorf("an unknown task: %v", err)
	}
	var alphabet *AlphabetError
	if _, err := Write(w, letters(t, 30), Options{Task: "tictactoe"}); !errors.As(err, &alphabet) {
		t.Errorf("a task in other characters: %v", err)
	}
	var large *c99.TooLargeError
	if _, err := Write(random(t, shape(func(c *arch.Config) { c.VocabSize = largestVocab + 1 }), false), letters(t, 30), Options{}); !errors.As(err, &large) {
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
