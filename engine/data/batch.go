package data

import "fmt"

// Batch is what a model is given for one step: Rows sequences of Time tokens.
// All slices have Rows·Time elements, row after row.
type Batch struct {
	Rows, Time int
	Inputs     []int32
	Targets    []int32   // Targets[i] is what follows Inputs[i]
	Weights    []float32 // of each target in the loss; 0 = ignored
	Positions  []int32   // 0 … Time-1 in each row
}

// maxElements keeps Rows·Time well inside an int32.
const maxElements = 1 << 30

func checkShape(rows, time int) error {
	if rows < 1 || time < 1 || rows > maxElements/time {
		return &ArgError{"shape", fmt.Sprintf("%d rows of %d tokens: both must be at least 1 and their product at most %d",
			rows, time, maxElements)}
	}
	return nil
}

// Reset gives the batch a shape, zeroes Inputs, Targets and Weights, and
// numbers Positions. It allocates only if the batch has to grow.
func (b *Batch) Reset(rows, time int) {
	n := rows * time
	b.Rows, b.Time = rows, time
	if cap(b.Inputs) < n || cap(b.Targets) < n || cap(b.Weights) < n || cap(b.Positions) < n {
		b.Inputs, b.Targets = make([]int32, n), make([]int32, n)
		b.Weights, b.Positions = make([]float32, n), make([]int32, n)
	}
	b.Inputs, b.Targets, b.Weights, b.Positions = b.Inputs[:n], b.Targets[:n], b.Weights[:n], b.Positions[:n]
	clear(b.Inputs)
	clear(b.Targets)
	clear(b.Weights)
	for i := range b.Positions {
		b.Positions[i] = int32(i % time)
	}
}

// Slice is a view of the rows [lo, hi), which shares memory with b. It panics
// like a slice expression where 0 ≤ lo ≤ hi ≤ Rows does not hold.
func (b *Batch) Slice(lo, hi int) Batch {
	lo, hi = lo*b.Time, hi*b.Time
	return Batch{
		Rows: (hi - lo) / max(b.Time, 1), Time: b.Time,
		Inputs: b.Inputs[lo:hi:hi], Targets: b.Targets[lo:hi:hi],
		Weights: b.Weights[lo:hi:hi], Positions: b.Positions[lo:hi:hi],
	}
}

// Micro is the i-th of m micro-batches: consecutive rows, in sizes that differ
// by at most one. Together they are the batch, whatever m is; with more parts
// than rows some are empty.
func (b *Batch) Micro(i, m int) Batch { return b.Slice(b.Rows*i/m, b.Rows*(i+1)/m) }

// Weight is the sum of the weights: the denominator of the mean loss. A step
// that is accumulated from micro-batches divides by the weight of the whole.
func (b *Batch) Weight() float64 {
	var sum float64
	for _, w := range b.Weights {
		sum += float64(w)
	}
	return sum
}

// Source yields the batch of each step. It is immutable and safe for concurrent
// use with different batches.
type Source interface {
	// Shape is the shape of every batch.
	Shape() (rows, time int)
	// Fill makes b the batch of a step, the same one on every call. It allocates
	// nothing once b has the size. A step that does not exist is a *StepError.
	Fill(b *Batch, step int64) error
	// TokensPerStep is rows·time: the positions that a step computes. The number
	// that it learns from is Batch.Weight.
	TokensPerStep() int
	// Hash identifies data, shape and order: equal hashes yield equal batches.
	Hash() string
}

// Eval is a source with an end. Walking steps 0 … Batches-1 scores every target once.
type Eval interface {
	Source
	Batches() int64
	// Weight is the sum of the weights of all batches.
	Weight() float64
	// Bytes is how many bytes of the original UTF-8 the targets stand for,
	// weighted as they are.
	Bytes() float64
}

var (
	_ Source = (*Text)(nil)
	_ Source = (*Examples)(nil)
	_ Eval   = (*TextEval)(nil)
	_ Eval   = (*ExamplesEval)(nil)
)
