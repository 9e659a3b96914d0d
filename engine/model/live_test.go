package model

import (
	"slices"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/kernels/kerneltest"
)

// A model that leaves out what its masks hide computes the bits of one that multiplies zeros, logits and gradients.
func TestLiveBlocks(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		c := arch.Edge(16, 16, 2, 32, 4, 2)
		m, err := Build(b, c, Options{Grads: true, Masked: func(string) bool { return true }})
		check(t, err)
		t.Cleanup(func() { check(t, m.Close()) })
		check(t, m.Initialize(2, DefaultInit()))
		r := kerneltest.Rand("live")
		for _, p := range m.Params.List {
			if p.Mask == nil {
				continue
			}
			mask := make([]float32, p.Size())
			for i := 0; i < len(mask); i += 8 { // whole blocks in four rows, and others in part
				row, col := i/p.Shape[1], i%p.Shape[1]
				if (row/4*7+col/8*3)%4 == 0 {
					mask[i+r.IntN(8)], mask[i] = 1, 1
				}
			}
			check(t, m.SetMask(p, mask))
			if p.Live == nil || p.Live.Live() > 0.3 {
				t.Fatalf("%s: no blocks are left out", p.Name)
			}
		}
		const rows, time = 3, 16
		a, err := m.NewActivations(rows, time, true)
		check(t, err)
		t.Cleanup(func() { check(t, a.Close()) })
		ids, positions, ones := make([]int32, rows*time), make([]int32, rows*time), make([]float32, rows*time)
		for i := range ids {
			ids[i], positions[i], ones[i] = int32(r.IntN(16)), int32(i%time), 1
		}
		check(t, backend.First(b.Upload(a.Inputs, ids), b.Upload(a.Targets, ids), b.Upload(a.Weights, ones), b.Upload(a.Positions, positions)))
		pass := func() (logits, grads []float32) {
			check(t, backend.First(m.ZeroGrad(), m.Forward(a),
				b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: 0.1}), m.Backward(a), m.FinishGrad()))
			logits, grads = make([]float32, rows*time*16), make([]float32, m.Params.Length())
			check(t, backend.First(b.Download(logits, a.Logits), b.Download(grads, m.Params.Grad)))
			return logits, grads
		}
		logits, grads := pass()
		for _, p := range m.Params.List {
			p.Live = nil
		}
		wantLogits, wantGrads := pass()
		check(t, kerneltest.Bits(logits, wantLogits))
		check(t, kerneltest.Bits(positive(grads), positive(wantGrads)))
		if slices.Max(grads) == 0 {
			t.Error("the gradients are zero")
		}
	})
}

// positive takes the sign of zeros, which nothing else depends on.
func positive(x []float32) []float32 {
	for i, v := range x {
		if v == 0 {
			x[i] = 0
		}
	}
	return x
}
