// Package adapters adds low-rank adapters to the linear layers of a runtime, one for each sequence:
//
//	y ← y + s·B·(A·x)   A [r,K], B [N,r]
//
// A runtime holds several; a row of activations names the one that it goes through, so that rows of different adapters go
// through the layers together, each with the bits that it has alone. Package engine/compress/lora trains and keeps them.
//
// It imports the standard library, engine/arch and kernels/vec only, so that the student can have adapters too. A test holds it
// to that.
//
// Letters: r rank, K inputs and N outputs of a weight, s scale.
package adapters

import (
	"fmt"
	"slices"

	"mito/engine/arch"
	"mito/kernels/vec"
)

// Adapter is a set of additions that belong together.
type Adapter struct {
	Name      string
	Additions []Addition
}

// Addition is what an adapter adds to one weight.
type Addition struct {
	Layer int
	Part  arch.Part // a matrix inside a layer, no table
	Rank  int
	Scale float32
	A, B  []float32 // [r,K], [N,r]
}

// Error reports adapters that a model cannot have.
type Error struct{ Adapter, Reason string }

func (e *Error) Error() string { return fmt.Sprintf("adapter %q: %s", e.Adapter, e.Reason) }

// Check refuses adapters without a name of their own, and additions that do not fit the model. Errors: *Error.
func Check(list []Adapter, c arch.Config) error {
	index := c.Index()
	for i, a := range list {
		if a.Name == "" || slices.ContainsFunc(list[:i], func(o Adapter) bool { return o.Name == a.Name }) {
			return &Error{a.Name, "its name is empty or taken: every adapter needs one of its own"}
		}
		seen := map[arch.Place]bool{}
		for _, d := range a.Additions {
			at := arch.Place{Layer: d.Layer, Part: d.Part}
			m, ok := index[at]
			switch {
			case !ok || d.Layer < 0 || !m.IsMatrix() || m.Part.Table() || seen[at]:
				return &Error{a.Name, fmt.Sprintf("layer %d has no %v to add to, or it has been added to already", d.Layer, d.Part)}
			case d.Rank < 1 || len(d.A) != d.Rank*m.Cols || len(d.B) != d.Rank*m.Rows:
				return &Error{a.Name, fmt.Sprintf("the factors of %s have %d and %d values, want %d and %d at rank %d",
					m.Name, len(d.A), len(d.B), d.Rank*m.Cols, d.Rank*m.Rows, d.Rank)}
			}
			seen[at] = true
		}
	}
	return nil
}

// Names lists the names.
func Names(list []Adapter) (names []string) {
	for _, a := range list {
		names = append(names, a.Name)
	}
	return names
}

// Stack is what adapters add to matrices that read the same input and whose rows lie behind each other. Row numbers of adapters
// count from 1; 0 is none.
type Stack struct {
	adapters [][]lowRank
	ranks    int
}

// lowRank is an addition to some rows of a stack.
type lowRank struct {
	at, n, k, rank int
	a              []float32 // [r,K]
	b              []float32 // [r,N], the columns of B times the scale
}

// NewStack returns what adapters, which Check has passed, add to modules; nil for nothing.
func NewStack(list []Adapter, modules ...arch.Module) *Stack {
	s := &Stack{adapters: make([][]lowRank, len(list))}
	for i, a := range list {
		at, ranks := 0, 0
		for _, m := range modules {
			for _, d := range a.Additions {
				if d.Layer != m.Layer || d.Part != m.Part {
					continue
				}
				l := lowRank{at: at, n: m.Rows, k: m.Cols, rank: d.Rank, a: d.A, b: make([]float32, len(d.B))}
				for o := range m.Rows {
					for r := range d.Rank {
						l.b[r*m.Rows+o] = d.Scale * d.B[o*d.Rank+r]
					}
				}
				s.adapters[i] = append(s.adapters[i], l)
				ranks += d.Rank
			}
			at += m.Rows
		}
		s.ranks = max(s.ranks, ranks)
	}
	if s.ranks == 0 {
		return nil
	}
	return s
}

// Ranks is how many values Down writes at most; 0 for nil.
func (s *Stack) Ranks() int {
	if s == nil {
		return 0
	}
	return s.ranks
}

// Down sets t to A·x of one row for every matrix that the adapter adds to.
func (s *Stack) Down(t, x []float32, adapter int) {
	if adapter == 0 {
		return
	}
	for i := range s.adapters[adapter-1] {
		l := &s.adapters[adapter-1][i]
		for r := range l.rank {
			t[r] = vec.Dot(l.a[r*l.k:][:l.k], x)
		}
		t = t[l.rank:]
	}
}

// Up adds s·B·t to a row of outputs, after Down.
func (s *Stack) Up(y, t []float32, adapter int) {
	if adapter == 0 {
		return
	}
	for i := range s.adapters[adapter-1] {
		l := &s.adapters[adapter-1][i]
		for r := range l.rank {
			vec.Axpy(y[l.at:][:l.n], t[r], l.b[r*l.n:][:l.n])
		}
		t = t[l.rank:]
	}
}
