package eval

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/model"
	"mito/engine/tokenizer"
)

// drawnText is a text that a model has drawn at a temperature, as held-out data.
func drawnText(t *testing.T, r decode.Runtime, temperature float64, rows int) data.Eval {
	t.Helper()
	tok := r.Tokenizer()
	g := must(decode.NewGenerator(r, decode.GeneratorOptions{Batch: 8}))
	requests := make([]decode.Request, rows)
	for i := range requests {
		requests[i] = decode.Request{Prompt: "a", GenerateOptions: decode.GenerateOptions{
			Sampling: decode.Sampling{Temperature: temperature, Seed: uint64(i)}, MaxTokens: 20}}
	}
	var texts texts
	for _, x := range g.GenerateAll(t.Context(), requests) {
		check(t, x.Err)
		texts.list = append(texts.list, append(must(tok.Encode("a")), x.Tokens...))
	}
	return texts
}

// texts are 21 tokens each, a batch of one row for each.
type texts struct {
	data.Eval
	list [][]int32
}

func (x texts) Shape() (rows, time int) { return 1, 20 }
func (x texts) Batches() int64          { return int64(len(x.list)) }
func (x texts) Bytes() float64          { return 1 }

func (x texts) Fill(b *data.Batch, step int64) error {
	b.Reset(1, 20)
	copy(b.Inputs, x.list[step])
	copy(b.Targets, x.list[step][1:])
	for i := range b.Weights {
		b.Weights[i] = 1
	}
	return nil
}

// TestCalibrate wants the temperature that a text was drawn at, and a confidence that is as often right as it says.
func TestCalibrate(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	_, w := floatModel(t, edge(), 1)
	for i := range w.Tensors["model.norm.weight"] { // sure of itself
		w.Tensors["model.norm.weight"][i] *= 3
	}
	for _, temperature := range []float64{0.6, 1, 2} {
		r := must(decode.NewFloat32(&model.Weights{Config: w.Config, Tensors: w.Tensors}, tok, decode.Options{Threads: 2}))
		c := must(Calibrate(t.Context(), r, drawnText(t, r, temperature, 2000)))
		if math.Abs(math.Log(c.Temperature/temperature)) > 0.1 || c.ECE > 0.02 || c.Tokens < 15_000 || math.Abs(c.Entropy-c.LossNats) > 0.05 {
			t.Errorf("drawn at %v: %+v", temperature, c)
		}
		if temperature != 1 && (c.ECEBefore < 2*c.ECE || c.LossBefore < c.LossNats) {
			t.Errorf("drawn at %v: fitting brought nothing: %+v", temperature, c)
		}
		for i, k := range c.Coverage {
			if i > 0 && (k.Threshold < c.Coverage[i-1].Threshold || k.Coverage > c.Coverage[i-1].Coverage) || k.Accuracy < 0 || k.Accuracy > 1 {
				t.Errorf("coverage %+v", c.Coverage)
			}
		}
		if first, last := c.Coverage[0], c.Coverage[len(c.Coverage)-1]; first.Coverage != 1 || last.Accuracy <= first.Accuracy {
			t.Errorf("the surest are not righter: %+v", c.Coverage)
		}
		check(t, r.Close())
	}
}

func TestCalibrationError(t *testing.T) {
	list := []judged{{0.95, 1, true}, {0.95, 3, false}, {0.5, 2, true}, {0.52, 2, false}, {0.1, 2, false}}
	want := (math.Abs(4*0.95-1) + math.Abs(2*0.5+2*0.52-2) + 2*0.1) / 10
	if e := calibrationError(list); math.Abs(e-want) > 1e-12 {
		t.Errorf("%v, want %v", e, want)
	}
	got := covered(list)
	if got[0] != (Covered{1, 0.3, 0.1}) || math.Abs(got[4].Coverage-0.6) > 1e-9 || math.Abs(got[4].Accuracy-1.0/6) > 1e-9 || got[4].Threshold != 0.52 {
		t.Errorf("%+v", got)
	}
	if d := must(softened([]float32{float32(math.Log(3)), 0}, 0.5)); math.Abs(math.Exp(d.log(0))-0.1) > 1e-7 {
		t.Errorf("%+v", d)
	}
}

func TestCalibrateErrors(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	r := runtimes(t, edge(), tok, 1)[decode.Float32]
	tokens := make([]int32, 12)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range tokens {
		tokens[i] = rng.Int32N(37)
	}
	if _, err := Calibrate(t.Context(), r, must(data.NewTextEval(tok, tokens, 1, 11))); !errors.Is(err, ErrTooFewRows) {
		t.Errorf("one row: %v", err)
	}
}

// TestAccepted compares with what speculation accepts, and a model with itself.
func TestAccepted(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	_, w := floatModel(t, edge(), 1)
	target := must(decode.NewFloat32(w, tok, decode.Options{}))
	_, x := floatModel(t, edge(), 2)
	draft := must(decode.NewFloat32(x, tok, decode.Options{}))
	list := drawnText(t, target, 1, 400)
	same := must(Accepted(t.Context(), target, target, list))
	if math.Abs(same.Sampled-1) > 1e-9 || same.Greedy != 1 || same.Tokens != 8000 {
		t.Errorf("itself: %+v", same)
	}
	a := must(Accepted(t.Context(), target, draft, list))
	g := must(decode.NewGenerator(target, decode.GeneratorOptions{Speculator: must(decode.NewDraft(draft, target, 1, 1))}))
	proposed, accepted := 0, 0
	for seed := range uint64(400) {
		s := must(g.Generate(t.Context(), "a", decode.GenerateOptions{Sampling: decode.Sampling{Temperature: 1, Seed: seed}, MaxTokens: 20})).Speculation
		proposed, accepted = proposed+s.Proposed, accepted+s.Accepted
	}
	if got := float64(accepted) / float64(proposed); math.Abs(got-a.Sampled) > 0.03 || a.Sampled > 0.95 || a.Sampled < 0.1 || a.Greedy > 0.9 {
		t.Errorf("%+v, speculation accepts %v", a, got)
	}
	if PerPass(1, 4) != 5 || math.Abs(PerPass(0.5, 2)-1.75) > 1e-12 || PerPass(0, 3) != 1 {
		t.Error("tokens a pass")
	}
}
