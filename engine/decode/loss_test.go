package decode

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789="

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
		if _, err := crossEntropy(logits, 1); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%v: error %v", logits, err)
		}
	}
	if _, err := crossEntropy([]float32{0}, 1); !errors.Is(err, ErrToken) {
		t.Errorf("error %v", err)
	}
}

func TestLossErrors(t *testing.T) {
	c := edge()
	c.Context = 8
	tok := must(tokenizer.NewChars(alphabet))
	r := runtimes(t, c, tok, 2)[Float32]
	if _, err := Loss(t.Context(), r, testEvals(t, tok)["text"]); !errors.Is(err, ErrContextFull) {
		t.Errorf("windows longer than the context: error %v", err)
	}
	big := must(tokenizer.NewChars(alphabet + "ABC"))
	_, w := floatModel(t, c, 1)
	var vocab *VocabularyError
	if _, err := NewFloat32(w, big, Options{}); !errors.As(err, &vocab) {
		t.Errorf("a tokenizer larger than the model: error %v", err)
	}
	if _, err := NewInt8(studentWeights(t, c, 1), big, Options{}); !errors.As(err, &vocab) {
		t.Errorf("a tokenizer larger than the student: error %v", err)
	}
	delete(w.Tensors, "model.norm.weight")
	var missing *TensorError
	if _, err := NewFloat32(w, nil, Options{}); !errors.As(err, &missing) || missing.Name != "model.norm.weight" {
		t.Errorf("a missing tensor: error %v", err)
	}
	w.Config.Heads = 3
	var bad *arch.FieldError
	if _, err := NewFloat32(w, nil, Options{}); !errors.As(err, &bad) {
		t.Errorf("an impossible configuration: error %v", err)
	}
	q := studentWeights(t, c, 1)
	q.Embedding.Q[0] = -128
	if _, err := NewInt8(q, nil, Options{}); !errors.Is(err, student.ErrMinus128) {
		t.Errorf("a weight of -128: error %v", err)
	}
}
