package eval

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/tokenizer"
)

// testText writes random words of the alphabet, which has as many characters as edge has logits.
func testText(n int) string {
	rng := rand.New(rand.NewPCG(8, 8))
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[rng.IntN(len(alphabet))])
	}
	return b.String()
}

func testEvals(t *testing.T, tok tokenizer.Tokenizer) map[string]data.Eval {
	t.Helper()
	return map[string]data.Eval{
		"text": must(data.NewTextEval(tok, must(tok.Encode(testText(203))), 3, 16)),
		"examples": must(data.NewExamplesEval(tok, []data.Example{
			{Prompt: "abc=", Answers: []string{"1", "2", "3"}}, {Prompt: "x=", Answers: []string{"yes"}}, {Prompt: "hello=", Answers: []string{"0"}},
		}, 2, data.ExampleOptions{})),
	}
}

// TestLoss compares with a plain float64 evaluation of the logits of one session, target by target.
func TestLoss(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for name, e := range testEvals(t, tok) {
		var single map[string]data.Loss
		for _, threads := range []int{1, 2, 3} {
			got := map[string]data.Loss{}
			for kind, r := range runtimes(t, edge(), tok, threads) {
				got[kind] = must(Loss(t.Context(), r, e))
				if threads > 1 {
					if got[kind] != single[kind] {
						t.Errorf("%s, %s: %v with %d threads, %v with one", name, kind, got[kind], threads, single[kind])
					}
					continue
				}
				var want data.Loss
				var b data.Batch
				s := must(r.NewSession(1))
				for step := range e.Batches() {
					check(t, e.Fill(&b, step))
					for row := range b.Rows {
						s.Reset()
						for i := range b.Time {
							at := row*b.Time + i
							logits := must(s.Step(b.Inputs[at : at+1]))[0]
							z := 0.0
							for _, v := range logits {
								z += math.Exp(float64(v))
							}
							want.Nats -= float64(b.Weights[at]) * math.Log(math.Exp(float64(logits[b.Targets[at]]))/z)
							want.Weight += float64(b.Weights[at])
						}
					}
				}
				if math.Abs(got[kind].Nats-want.Nats) > 1e-9*want.Nats || math.Abs(got[kind].Weight-want.Weight) > 1e-9 {
					t.Errorf("%s, %s: %v, want %v", name, kind, got[kind], want)
				}
				if math.Abs(got[kind].Weight-e.Weight()) > 1e-6 || got[kind].Bytes != e.Bytes() {
					t.Errorf("%s, %s: %v, the source has weight %v and %v bytes", name, kind, got[kind], e.Weight(), e.Bytes())
				}
			}
			if threads == 1 {
				single = got
			}
		}
	}
}

func TestCrossEntropy(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, tc := range []struct {
		name   string
		logits []float32
		target int32
		want   float64
	}{
		{"uniform", []float32{5, 5, 5, 5}, 2, math.Log(4)},
		{"two to one", []float32{float32(math.Log(2)), 0}, 0, math.Log(1.5)},
		{"far", []float32{1000, -1000}, 1, 2000},
		{"masked logit", []float32{0, -inf, 0}, 0, math.Log(2)},
	} {
		if got, err := crossEntropy(tc.logits, tc.target); err != nil || math.Abs(got-tc.want) > 1e-6*(1+tc.want) {
			t.Errorf("%s: %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	nan := float32(math.NaN())
	for _, logits := range [][]float32{{0, nan}, {nan, 0}, {inf, 0}, {-inf, -inf}} {
		if _, err := crossEntropy(logits, 1); !errors.Is(err, decode.ErrNotFinite) {
			t.Errorf("%v: error %v", logits, err)
		}
	}
	if _, err := crossEntropy([]float32{0}, 1); !errors.Is(err, decode.ErrToken) {
		t.Errorf("error %v", err)
	}
}

func TestLossErrors(t *testing.T) {
	c := edge()
	c.Context = 8
	tok := must(tokenizer.NewChars(alphabet))
	r := runtimes(t, c, tok, 2)[decode.Float32]
	if _, err := Loss(t.Context(), r, testEvals(t, tok)["text"]); !errors.Is(err, decode.ErrContextFull) {
		t.Errorf("windows longer than the context: error %v", err)
	}
	_, err := Loss(t.Context(), r, testEvals(t, tok)["text"])
	if err == nil || strings.Contains(err.Error(), "row 0") {
		t.Errorf("error %v: a context that is too short is not the fault of a row", err)
	}
}

// slow is a runtime whose steps take time, to be stopped.
type slow struct {
	decode.Runtime
	pause time.Duration
}

type slowSession struct {
	decode.Session
	pause time.Duration
}

func (s slow) NewSession(batch int) (decode.Session, error) {
	inner, err := s.Runtime.NewSession(batch)
	return slowSession{inner, s.pause}, err
}

func (s slowSession) Step(tokens []int32) ([][]float32, error) {
	time.Sleep(s.pause)
	return s.Session.Step(tokens)
}

func (s slowSession) Score(seq int, tokens []int32, visit func(int, []float32) error) error {
	return s.Session.Score(seq, tokens, func(i int, l []float32) error {
		time.Sleep(s.pause)
		return visit(i, l)
	})
}

// TestStop wants Loss and Measure to end with their context, long before they are done.
func TestStop(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 2) {
		r = slow{r, 20 * time.Millisecond} // a loss or a context takes seconds
		for name, f := range map[string]func(ctx context.Context) error{
			"loss":    func(ctx context.Context) error { _, err := Loss(ctx, r, testEvals(t, tok)["text"]); return err },
			"measure": func(ctx context.Context) error { _, err := Measure(ctx, r, MeasureOptions{}); return err },
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			start := time.Now()
			err := f(ctx)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
				t.Errorf("%s, %s: error %v after %v", kind, name, err, took)
			}
			cancel()
		}
	}
}
