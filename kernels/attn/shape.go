package attn

import (
	"fmt"
	"math"
	"slices"

	"mito/kernels/sentinel"
)

// ErrShape is wrapped by the errors of Shape.Check.
var ErrShape = sentinel.ErrShape

// Shape describes causal self-attention for training.
type Shape struct {
	Batch, Time    int // B sequences of T positions
	Heads, KVHeads int // H query heads share G key and value heads, head h uses h/(H/G); G divides H
	HeadDim        int // D
	Window         int // position i attends to i-Window+1..i; 0: to all before it
	Scale          float32

	// Starts, where it is not nil, stands in for Window where rows are not consecutive positions: position i of sequence b
	// attends to Starts[b·T+i]..i. Starts never fall within a sequence.
	Starts []int32
}

// Check returns an error that wraps ErrShape when no attention has this shape.
func (s Shape) Check() error {
	switch {
	case s.Batch < 0 || s.Time < 0:
		return fmt.Errorf("attn: %w: batch %d, time %d", ErrShape, s.Batch, s.Time)
	case s.Heads < 1 || s.KVHeads < 1 || s.Heads%s.KVHeads != 0:
		return fmt.Errorf("attn: %w: %d heads cannot share %d key and value heads", ErrShape, s.Heads, s.KVHeads)
	case s.HeadDim < 1:
		return fmt.Errorf("attn: %w: head dimension %d", ErrShape, s.HeadDim)
	case s.Window < 0:
		return fmt.Errorf("attn: %w: window %d", ErrShape, s.Window)
	case s.Starts != nil && len(s.Starts) != s.Batch*s.Time:
		return fmt.Errorf("attn: %w: %d starts for %d rows", ErrShape, len(s.Starts), s.Batch*s.Time)
	case !(s.Scale > 0) || math.IsInf(float64(s.Scale), 1):
		return fmt.Errorf("attn: %w: scale %v is not a positive number", ErrShape, s.Scale)
	}
	return nil
}

// CheckStarts returns an error that wraps ErrShape where a row attends to nothing, to a later row, or to an earlier one
// than the row before it.
func (s Shape) CheckStarts() error {
	for i, start := range s.Starts {
		least := int32(0)
		if i%s.Time > 0 {
			least = s.Starts[i-1]
		}
		if start < least || int(start) > i%s.Time {
			return fmt.Errorf("attn: %w: row %d attends from %d on, want %d to %d", ErrShape, i, start, least, i%s.Time)
		}
	}
	return nil
}

// first returns the first position that position i of a sequence attends to.
func (s *Shape) first(b, i int) int {
	if s.Starts != nil {
		return int(s.Starts[b*s.Time+i])
	}
	if s.Window == 0 {
		return 0
	}
	return max(0, i-s.Window+1)
}

// after returns the first position behind j that no longer attends to j, in a sequence.
func (s *Shape) after(b, j int) int {
	if s.Starts != nil {
		later := s.Starts[b*s.Time+j : (b+1)*s.Time]
		n, _ := slices.BinarySearch(later, int32(j+1))
		return j + n
	}
	if s.Window == 0 {
		return s.Time
	}
	return min(s.Time, j+s.Window)
}

// row returns the offset of query head h at position t, kv that of key head g, and stat that of a value per row of q.
func (s *Shape) row(b, t, h int) int  { return ((b*s.Time+t)*s.Heads + h) * s.HeadDim }
func (s *Shape) kv(b, t, g int) int   { return ((b*s.Time+t)*s.KVHeads + g) * s.HeadDim }
func (s *Shape) stat(b, t, h int) int { return (b*s.Time+t)*s.Heads + h }

// mustCheck panics when the shape is impossible: the caller's mistake, as an index out of range is.
func (s *Shape) mustCheck(op string) {
	if err := s.Check(); err != nil {
		panic(op + ": " + err.Error())
	}
}

// mustHave panics when an operand has not the given number of elements per position.
func (s *Shape) mustHave(op, name string, x []float32, perPosition int) {
	if want := s.Batch * s.Time * perPosition; len(x) != want {
		panic(fmt.Sprintf("%s: %s has %d elements, the shape needs %d", op, name, len(x), want))
	}
}
