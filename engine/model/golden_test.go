package model

import (
	"math"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/kernels/kerneltest"
)

// Logits, losses and every gradient equal PyTorch's on a Llama-like and a GPT-2-like model (testdata/golden.py).
func TestGolden(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, name := range []string{"llama", "gpt2"} {
			t.Run(name, func(t *testing.T) { checkGolden(t, b, "testdata/golden_"+name+".safetensors") })
		}
	})
}

func checkGolden(t *testing.T, b backend.Backend, path string) {
	f, err := checkpoint.ReadFile(path)
	check(t, err)
	c, err := arch.Parse([]byte(f.Metadata["config"]))
	check(t, err)
	m, err := New(b, c, true)
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	check(t, m.ReadTrained(f, "", m.Params.Value))

	floats := func(name string) []float32 {
		tensor, err := f.Tensor(name)
		check(t, err)
		v, err := tensor.F32()
		check(t, err)
		return v
	}
	ints := func(name string) []int32 {
		tensor, err := f.Tensor(name)
		check(t, err)
		v, err := tensor.I32()
		check(t, err)
		return v
	}
	data := &batch{rows: 2, time: 16, inputs: ints("inputs"), targets: ints("targets"), weights: floats("weights")}
	for range data.rows {
		for i := range data.time {
			data.positions = append(data.positions, int32(i))
		}
	}
	losses, logits, grads := data.train(t, m, data.rows)
	// The key bias of a model without RoPE has no gradient; what is left of it are roundings of its terms, which are
	// as large as the other gradients.
	const floor = 1e-3
	near := func(what string, got, want []float32, tolerance float64) {
		t.Helper()
		w := make([]float64, len(want))
		for i, v := range want {
			w[i] = float64(v)
		}
		size := norm(w) / math.Sqrt(float64(len(w)))
		if err := kerneltest.Close(got, w, func(i int) float64 { return tolerance * (math.Abs(w[i]) + size + floor) }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	near("logits", logits, floats("logits"), logitTolerance)
	near("loss", losses, floats("loss"), logitTolerance)
	for _, p := range m.Params.List {
		near("gradient of "+p.Name, grads[p.Name], floats("grad."+p.Name), gradTolerance)
	}
	// Nothing of PyTorch's model is left out: one gradient for each weight, and five tensors of the batch.
	if got, want := len(f.Tensors), 2*len(m.Params.List)+5; got != want {
		t.Errorf("the fixture has %d tensors, the model accounts for %d", got, want)
	}
}
