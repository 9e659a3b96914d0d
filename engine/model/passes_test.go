package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/kernels/kerneltest"
)

// A batch in micro-batches of any size, ragged and masked, gives bitwise the gradients of the whole, and so does any
// number of threads.
func TestMicroBatches(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			m := newModel(t, openCPU(t, 1), v.config())
			data := newBatch(m.Config, 8, 16)
			data.dropout, data.smoothing = v.dropout, v.smoothing
			wantLoss, wantLogits, want := data.train(t, m, 8)
			compare := func(what string, m *Model, ends ...int) {
				loss, logits, grads := data.train(t, m, ends...)
				if err := errors.Join(kerneltest.Bits(loss, wantLoss), kerneltest.Bits(logits, wantLogits)); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				for name, g := range grads {
					if err := kerneltest.Bits(g, want[name]); err != nil {
						t.Errorf("%s: gradient of %s: %v", what, name, err)
					}
				}
			}
			for _, ends := range [][]int{{4, 8}, {1, 2, 5, 6, 8}, {1, 2, 3, 4, 5, 6, 7, 8}} {
				compare(fmt.Sprint("micro-batches that end at ", ends), m, ends...)
			}
			for _, threads := range []int{2, 3} {
				compare(fmt.Sprint(threads, " threads"), newModel(t, openCPU(t, threads), v.config()), 3, 8)
			}
		})
	}
}

// A token changes no logit before it. With a window it changes none beyond its reach either.
func TestCausality(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, v := range variants {
			m := newModel(t, b, v.config())
			data := newBatch(m.Config, 2, 20)
			_, before, _ := data.train(t, m, 2)
			const row, at = 1, 9
			i := row*data.time + at
			data.inputs[i] = (data.inputs[i] + 1) % int32(m.Config.VocabSize)
			_, after, _ := data.train(t, m, 2)
			vocab := m.Config.VocabSize
			reach := data.time
			if w := m.Config.Window; w > 0 {
				reach = m.Config.Layers * (w - 1)
			}
			for n := range data.rows * data.time {
				same := slices.Equal(before[n*vocab:][:vocab], after[n*vocab:][:vocab])
				pos := n % data.time
				untouched := n/data.time != row || pos < at || pos > at+reach
				if untouched && !same {
					t.Errorf("%s: logits of row %d position %d changed with the token at %d of row %d", v.name, n/data.time, pos, at, row)
				}
				if n == i && same {
					t.Errorf("%s: the token at %d does not reach its own logits", v.name, at)
				}
			}
		}
	})
}

// Inference with shared activations has the bits of training, for any batch.
func TestInference(t *testing.T) {
	for _, v := range variants {
		if v.dropout > 0 {
			continue
		}
		m := newModel(t, openCPU(t, 2), v.config())
		data := newBatch(m.Config, 3, 16)
		_, want, _ := data.train(t, m, 3)
		for row := range data.rows {
			a, err := m.NewActivations(1, data.time, false)
			check(t, err)
			data.load(t, m, a, row, row+1)
			check(t, m.Forward(a))
			got := make([]float32, data.time*m.Config.VocabSize)
			check(t, m.b.Download(got, a.Logits))
			if err := kerneltest.Bits(got, want[row*len(got):][:len(got)]); err != nil {
				t.Errorf("%s row %d: %v", v.name, row, err)
			}
			check(t, a.Close())
		}
	}
}

// A step allocates nothing once it is warm.
func TestAllocations(t *testing.T) {
	for _, v := range variants {
		for _, threads := range []int{1, 2} {
			m := newModel(t, openCPU(t, threads), v.config())
			data := newBatch(m.Config, 2, 16)
			data.dropout = v.dropout
			a, err := m.NewActivations(2, 16, true)
			check(t, err)
			data.load(t, m, a, 0, 2)
			data.pass(t, m, a)
			forward := testing.AllocsPerRun(3, func() { err = errors.Join(err, m.Forward(a)) })
			backward := testing.AllocsPerRun(3, func() { err = errors.Join(err, m.ZeroGrad(), m.Backward(a), m.FinishGrad()) })
			check(t, err)
			if forward != 0 || backward != 0 {
				t.Errorf("%s with %d threads: Forward allocates %v times, Backward %v times", v.name, threads, forward, backward)
			}
			check(t, a.Close())
		}
	}
}

// Misuse is an error, not a crash.
func TestMisuse(t *testing.T) {
	b := openCPU(t, 1)
	m := newModel(t, b, small())
	for _, s := range [][2]int{{0, 4}, {-1, 4}, {2, 0}, {2, -1}, {1, m.Config.Context + 1}, {math.MaxInt / 8, 4}} {
		if a, err := m.NewActivations(s[0], s[1], true); err == nil {
			t.Errorf("activations of %v: no error", s)
			check(t, a.Close())
		}
	}
	a, err := m.NewActivations(1, 4, false)
	check(t, err)
	var owner *backend.OwnerError
	if err := m.Backward(a); !errors.As(err, &owner) {
		t.Errorf("backward over activations for inference: %v, want an *OwnerError", err)
	}
	var arg *backend.ArgError
	check(t, b.Upload(a.Inputs, []int32{0, 1, 11, 2}))
	if err := m.Forward(a); !errors.As(err, &arg) {
		t.Errorf("a token outside the vocabulary: %v, want an *ArgError", err)
	}
	frozen, err := New(b, small(), false)
	check(t, err)
	if err := frozen.ZeroGrad(); !errors.As(err, &owner) {
		t.Errorf("gradients of a model without: %v, want an *OwnerError", err)
	}
	if _, err := New(b, arch.Config{}, true); err == nil {
		t.Error("a model of no configuration")
	}
	huge := small()
	huge.VocabSize, huge.HiddenSize, huge.IntermediateSize = 1<<20, 1<<16, 1<<16
	if _, err := New(b, huge, true); !errors.Is(err, backend.ErrOutOfMemory) {
		t.Errorf("a model larger than the machine: %v, want ErrOutOfMemory", err)
	}
}
