package train

import (
	"testing"

	"mito/engine/model"
)

// Weights that a mask keeps at zero stay so, and a run of them is bitwise the same in micro-batches of any size.
func TestMaskedAccumulation(t *testing.T) {
	const name = "model.layers.0.mlp.up_proj.weight"
	want := ""
	for _, micro := range []int{1, 2, 5, 8} {
		o := testOptions(4)
		o.MicroBatches = micro
		tr := maskedTrainer(t, o, name)
		p := tr.Model.Params.Lookup(name)
		mask := make([]float32, p.Size())
		for i := range mask {
			mask[i] = float32(i % 2)
		}
		if err := tr.Model.SetMask(p, mask); err != nil {
			t.Fatal(err)
		}
		steps(t, tr, 4)
		got := fingerprint(t, tr)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%d micro-batches: other weights than with one", micro)
		}
	}
}

// What a run takes for activations is what its largest micro-batch does.
func TestAccumulationMemory(t *testing.T) {
	for micro, rows := range map[int]int{1: 8, 2: 4, 3: 3, 5: 2, 8: 1} {
		o := testOptions(2)
		o.MicroBatches = micro
		tr := trainerOf(t, 1, testConfig(), testSource(t), nil, o)
		one, err := tr.Model.ActivationBytes(rows, testTime, true)
		if err != nil {
			t.Fatal(err)
		}
		var shapes []model.Batch
		for n := range tr.acts {
			shapes = append(shapes, model.Batch{Rows: n, Time: testTime, Training: true})
		}
		took, err := tr.Model.SharedBytes(shapes...)
		if err != nil {
			t.Fatal(err)
		}
		// Another number of rows may round up to whole cache lines where the largest does not.
		if took > one+one/100 {
			t.Errorf("%d micro-batches take %d bytes, the largest alone %d", micro, took, one)
		}
	}
}
