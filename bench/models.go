package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/student"
)

// class is a size of model that the benchmarks measure.
type class struct {
	name   string
	config arch.Config
}

// classes are the sizes that peers publish: MicroGPT-C's 460K parameters, and a small teacher of 7M. Vocabulary 64,
// context 128.
func classes() []class {
	return []class{
		{"460K", arch.Edge(64, 128, 4, 96, 4, 4)},
		{"7M", arch.Edge(64, 128, 4, 384, 6, 6)},
	}
}

// weights draws the weights of a class.
func (c class) weights() (_ *model.Weights, err error) {
	b := cpu.New(1)
	m, err := model.New(b, c.config, false)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	defer func() { err = errors.Join(err, m.Close(), b.Close()) }()
	if err := m.Initialize(1, model.DefaultInit()); err != nil {
		return nil, err
	}
	return m.Host()
}

// quantized is the INT8 student of w.
func quantized(ctx context.Context, w *model.Weights) (*student.Weights, error) {
	q, _, err := quant.Quantize(ctx, w.Config, w.Tensors, quant.Options{Method: quant.RoundToNearest})
	return q, err
}

// matrix is a weight matrix [n,k] that a decoding step multiplies by; unsigned where its input is never negative.
type matrix struct {
	name     string
	n, k     int
	unsigned bool
}

// matrices lists the products of a step of a class, those of one input joined.
func (c class) matrices() []matrix {
	d, f := c.config.HiddenSize, c.config.IntermediateSize
	q, kv := c.config.Heads*c.config.HeadDim, c.config.KVHeads*c.config.HeadDim
	var list []matrix
	for i := range c.config.Layers {
		layer := fmt.Sprintf("layer %d ", i)
		list = append(list,
			matrix{layer + "qkv", q + 2*kv, d, false}, matrix{layer + "o", d, q, false},
			matrix{layer + "up", f, d, false}, matrix{layer + "down", d, f, true})
	}
	return append(list, matrix{"head", c.config.VocabSize, d, false})
}

// macs is the number of multiply-adds of the products of a step.
func (c class) macs() int {
	n := 0
	for _, m := range c.matrices() {
		n += m.n * m.k
	}
	return n
}

// trainFLOPs is the number of floating-point operations of a training step per token: three products per matrix, and
// the two and five of attention over the positions before.
func (c class) trainFLOPs(time int) float64 {
	attention := 7 * c.config.Layers * c.config.Heads * c.config.HeadDim * (time + 1) / 2
	return 2 * float64(3*c.macs()+attention)
}

func source(name string) *rand.Rand {
	var seed uint64
	for _, r := range name {
		seed = seed*131 + uint64(r)
	}
	return rand.New(rand.NewPCG(seed, 1))
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// int8s draws values in [-127,127], or in [0,127] unsigned.
func int8s(r *rand.Rand, n int, unsigned bool) []int8 {
	x := make([]int8, n)
	for i := range x {
		if unsigned {
			x[i] = int8(r.IntN(128))
		} else {
			x[i] = int8(r.IntN(255) - 127)
		}
	}
	return x
}
