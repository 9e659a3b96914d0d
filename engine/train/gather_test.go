package train

import (
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend/cpu"
	"mito/engine/data"
	"mito/engine/model"
)

// cutting is a CPU backend that cuts batches itself, as a GPU does.
type cutting struct {
	*cpu.Backend
	cuts int
}

func (b *cutting) GatherRows(inputs, targets, tokens, starts *tensor.Dense) error {
	b.cuts++
	time := inputs.Shape()[1]
	for r, at := range starts.Int32s() {
		copy(inputs.Int32s()[r*time:][:time], tokens.Int32s()[at:])
		copy(targets.Int32s()[r*time:][:time], tokens.Int32s()[at+1:])
	}
	return nil
}

// Batches that the backend cuts are those of the host: weights, positions and all. A source that is built round a text and
// changes its batches is left to the host.
func TestGather(t *testing.T) {
	text, err := data.NewText(testTokens(2000, testVocab), testRows, testTime, 7)
	if err != nil {
		t.Fatal(err)
	}
	weights := make([]float32, 2000)
	for i := range weights {
		weights[i] = float32(i%7) / 3
	}
	weighted, err := text.Weighted(weights)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		source Source
		cut    bool
	}{{"text", text, true}, {"weighted text", weighted, true}, {"text with changed batches", maskedSource{text}, false}} {
		o := testOptions(4)
		o.MicroBatches = 3
		plain := trainerOf(t, 2, testConfig(), c.source, nil, o)
		b := &cutting{Backend: cpu.New(2)}
		m, err := model.New(b, testConfig(), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Initialize(3, model.DefaultInit()); err != nil {
			t.Fatal(err)
		}
		tr, err := New(m, c.source, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		for range o.Steps {
			got, want := steps(t, tr, 1), steps(t, plain, 1)
			if got.Loss != want.Loss || got.GradNorm != want.GradNorm {
				t.Fatalf("%s: step %+v, from the host %+v", c.name, got, want)
			}
		}
		if fingerprint(t, tr) != fingerprint(t, plain) {
			t.Errorf("%s: the weights differ", c.name)
		}
		for _, a := range tr.acts {
			for i, p := range a.Positions.Int32s() {
				if int(p) != i%testTime {
					t.Fatalf("%s: token %d is at position %d", c.name, i, p)
				}
			}
		}
		if (b.cuts > 0) != c.cut {
			t.Errorf("%s: %d cuts by the backend", c.name, b.cuts)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	other := slices.Clone(weights)
	other[5]++
	if again, err := text.Weighted(other); err != nil || again.Hash() == weighted.Hash() || weighted.Hash() == text.Hash() {
		t.Errorf("other weights have the same hash: %v", err)
	}
}
