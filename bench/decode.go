package bench

import (
	"fmt"
	"time"

	"mito/engine/decode"
	"mito/engine/student"
	"mito/kernels/gemm"
)

// planDecode adds one sequence on one thread, whole contexts long, as INT8 and as float32; their matrix products
// alone; a batch of eight; and INT8 with zero blocks.
func planDecode(m *meter) error {
	for _, c := range classes() {
		d, err := newDecoders(m, c)
		if err != nil {
			return err
		}
		packed, err := int8Operands(c, nil)
		if err != nil {
			return err
		}
		if err := addRuntime(m, c, d.int8, packed.step); err != nil {
			return err
		}
		if err := addRuntime(m, c, d.float32, newFloatOperands(c).step); err != nil {
			return err
		}
		for _, share := range sparseLevels[1:] {
			if err := addBlocks(m, c, share); err != nil {
				return err
			}
		}
	}
	return nil
}

// addBlocks adds the steps of an INT8 student of which a share of the blocks is zero, stored in blocks.
func addBlocks(m *meter, c class, share float64) error {
	name := fmt.Sprintf("decode/%s int8, %.0f%% zero 4x8 blocks", c.name, 100*share)
	q, err := pruned(m.ctx, c, share, name)
	if err != nil {
		return err
	}
	r, err := decode.NewInt8(q, nil, decode.Options{Blocks: student.BlocksMeasured})
	if err != nil {
		return err
	}
	m.keep(r)
	run, err := steps(r, 1)
	if err != nil {
		return err
	}
	m.add(Result{Name: name, Unit: unitTokens, Threads: 1}, run, nil)
	return nil
}

// decoders are the two runtimes of a class.
type decoders struct{ int8, float32 decode.Runtime }

func newDecoders(m *meter, c class) (d decoders, err error) {
	w, err := c.weights()
	if err != nil {
		return d, err
	}
	q, err := quantized(m.ctx, w)
	if err != nil {
		return d, err
	}
	if d.int8, err = decode.NewInt8(q, nil, decode.Options{}); err != nil {
		return d, err
	}
	m.keep(d.int8)
	if d.float32, err = decode.NewFloat32(w, nil, decode.Options{}); err != nil {
		return d, err
	}
	m.keep(d.float32)
	return d, nil
}

// manyRows is the batch that shares the reading of the weights.
const manyRows = 8

// addRuntime adds the steps of a runtime, its products alone, the share of a step that is not products, and a batch.
func addRuntime(m *meter, c class, r decode.Runtime, products func()) error {
	run, err := steps(r, 1)
	if err != nil {
		return err
	}
	row := Result{Name: fmt.Sprintf("decode/%s %s", c.name, r.Kind()), Unit: unitTokens, Threads: 1, LimitName: limitRead}
	name := row.Name
	whole := m.add(row, run, readLimit(r.Bytes(), 1))
	row.Name = name + ", matrix products alone"
	part := m.add(row, stretches(c.config.Context, 1, func(int) error { products(); return nil }), readLimit(r.Bytes(), 1))
	m.combine(Result{Name: name + ", not matrix products", Unit: unitShare, Threads: 1}, whole, part,
		func(whole, part float64) float64 { return 1 - whole/part })
	if run, err = steps(r, manyRows); err != nil {
		return err
	}
	m.add(Result{Name: fmt.Sprintf("%s, batch %d", name, manyRows), Unit: unitTokens, Threads: 1}, run, nil)
	return nil
}

// stretch is the number of positions that are timed together. A whole context would seldom pass without something else
// taking the processor.
const stretch = 8

// decodeTime is how long a measurement of decoding takes at least.
const decodeTime = 20 * time.Millisecond

// steps decodes whole contexts and counts tokens.
func steps(r decode.Runtime, batch int) (rate, error) {
	s, err := r.NewSession(batch)
	if err != nil {
		return nil, err
	}
	return contexts(s, r.Context(), r.VocabSize()), nil
}

func contexts(s decode.Session, length, vocab int) rate {
	tokens := make([]int32, s.Batch())
	return stretches(length, float64(s.Batch()), func(i int) error {
		if i == 0 {
			s.Reset()
		}
		for j := range tokens {
			tokens[j] = int32((7*i + j) % vocab)
		}
		_, err := s.Step(tokens)
		return err
	})
}

// stretches returns the rate of step, each call counting amount. It calls step for positions 0 to length-1 again and
// again; the time of a context is the sum of the fastest times of its stretches.
func stretches(length int, amount float64, step func(i int) error) rate {
	best := make([]time.Duration, (length+stretch-1)/stretch)
	context := func() error {
		start := time.Now()
		for i := range length {
			if err := step(i); err != nil {
				return err
			}
			if (i+1)%stretch == 0 || i+1 == length {
				now := time.Now()
				best[i/stretch] = min(best[i/stretch], now.Sub(start))
				start = now
			}
		}
		return nil
	}
	return func() (float64, error) {
		for i := range best {
			best[i] = 1<<63 - 1
		}
		for n, began := 0, time.Now(); n < trials || time.Since(began) < decodeTime; n++ {
			if err := context(); err != nil {
				return 0, err
			}
		}
		var sum time.Duration
		for _, d := range best {
			sum += d
		}
		return amount * float64(length) / sum.Seconds(), nil
	}
}

// floatOperands are the packed float32 matrices of a class with their inputs.
type floatOperands struct {
	w    []*gemm.Packed
	x, y [][]float32
}

func newFloatOperands(c class) *floatOperands {
	o := &floatOperands{}
	r := source("float32 " + c.name)
	for _, s := range c.matrices() {
		o.w = append(o.w, gemm.Pack(normal(r, s.n*s.k), s.n, s.k))
		o.x, o.y = append(o.x, normal(r, s.k)), append(o.y, make([]float32, s.n))
	}
	return o
}

func (o *floatOperands) step() {
	for i, w := range o.w {
		w.MulVec(o.y[i], o.x[i], nil)
	}
}
