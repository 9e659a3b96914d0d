package eval

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/tokenizer"
)

// ending is a context that is done once it was asked so many times.
type ending struct {
	context.Context
	left *atomic.Int64
}

func after(t *testing.T, times int64) ending {
	e := ending{t.Context(), new(atomic.Int64)}
	e.left.Store(times)
	return e
}

func (e ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// Whatever takes long asks its context: a loss and a measurement at every token, a player at every batch of prompts.
func TestContexts(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 2) {
		e := must(data.NewTextEval(tok, must(tok.Encode(testText(203))), 3, 16))
		for _, times := range []int64{0, 5, 150} {
			if _, err := Loss(after(t, times), r, e); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: loss, done after %d questions: %v", kind, times, err)
			}
		}
		for _, times := range []int64{0, 30, 60} {
			if _, err := Measure(after(t, times), r, MeasureOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: measuring, done after %d questions: %v", kind, times, err)
			}
		}
		p := must(NewPlayer(after(t, 2), r, 1))
		prompts := []string{"abc=", "x=", "y="}
		legal := [][]string{{"1", "2"}, {"0"}, {"1"}}
		if _, err := p.Choose(prompts, legal); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: player: %v", kind, err)
		}
	}
}

// unfilled fails where a batch is made.
type unfilled struct {
	data.Eval
	t *testing.T
}

func (u unfilled) Fill(*data.Batch, int64) error {
	u.t.Error("a batch was made")
	return errors.New("a batch was made")
}

// Sequences beyond the context are refused before anything is made for them.
func TestLossBeyondTheContext(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 2) {
		e := must(data.NewTextEval(tok, must(tok.Encode(testText(203))), 64, 1<<20))
		if _, err := Loss(t.Context(), r, unfilled{e, t}); !errors.Is(err, decode.ErrContextFull) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
