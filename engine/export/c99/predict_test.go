package c99

import (
	"errors"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// A BPE that joins characters cuts no prompt of a game as student_play does. One that joins none may, and its code was not measured.
func TestTaskWithBPE(t *testing.T) {
	game, err := task.New("tictactoe", task.Options{Positions: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, vocab := range []int{256, 260} {
		tok, err := tokenizer.TrainBPE(strings.Repeat(game.Alphabet(), 20), vocab)
		if err != nil {
			t.Fatal(err)
		}
		if joins := len(tok.Table().Merges) > 0; joins != (vocab > 256) {
			t.Fatalf("%d tokens join characters: %v", vocab, joins)
		}
		w := random(t, tiny(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false)
		p, err := Predict(w, tok, Options{Task: "tictactoe"})
		var e *TokenizerError
		switch {
		case len(tok.Table().Merges) > 0:
			if !errors.As(err, &e) || !strings.Contains(err.Error(), "leave out --task") {
				t.Errorf("%d tokens: %v", vocab, err)
			}
			if _, err := Predict(w, tok, Options{}); err != nil {
				t.Errorf("%d tokens, without the task: %v", vocab, err)
			}
		case err != nil:
			t.Errorf("%d tokens: %v", vocab, err)
		default:
			without, err := Predict(w, tok, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range p.Costs {
				if c.Known || c.Code <= without.Costs[i].Code || c.Stack != without.Costs[i].Stack+32+64 {
					t.Errorf("%+v, without the task %+v", c, without.Costs[i])
				}
			}
		}
	}
}

// The loop that measures does not go past the context.
func TestHowToMeasure(t *testing.T) {
	if text := HowToMeasure("oracle"); !strings.Contains(text, "i < 32 && i < ORACLE_CONTEXT;") {
		t.Error(text)
	}
}
