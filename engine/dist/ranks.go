package dist

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/train"
)

// Ways of adding up gradients.
const (
	Ordered = "ordered" // bitwise as one process does
	Fast    = "fast"    // by the engine's all-reduce
)

// Ranks is a group of processes. It implements train.Group for one training at a time.
type Ranks struct {
	engine Engine
	hub    *Hub
	mode   string
	chain  *Chain
	grads  []*tensor.Dense
	facts  []Fact
}

var _ train.Group = (*Ranks)(nil)

// Join makes a group of an engine and a hub, which it closes. mode is Ordered or Fast. facts are what all ranks must have in common
// beside what Same is given, such as the program.
func Join(e Engine, h *Hub, mode string, facts ...Fact) (*Ranks, error) {
	if mode != Ordered && mode != Fast {
		return nil, fmt.Errorf("dist: unknown way to add up gradients %q; known: %s, %s", mode, Ordered, Fast)
	}
	if e.Size() != h.Size() || e.Rank() != h.Rank() {
		return nil, fmt.Errorf("dist: this process is rank %d of %d for %s, and rank %d of %d by what started it: start all ranks by one launcher",
			e.Rank(), e.Size(), e.Name(), h.Rank(), h.Size())
	}
	return &Ranks{engine: e, hub: h, mode: mode, facts: append(facts, Fact{"the way to add up gradients", mode})}, nil
}

// Backend is what the model of a training is to be built on, which Train then is told.
func (r *Ranks) Backend(b backend.Backend) backend.Backend {
	if r.mode == Fast {
		return b
	}
	r.chain = NewChain(b, r.engine)
	return r.chain
}

// Train says which tensors the gradients of the training lie in.
func (r *Ranks) Train(grads []*tensor.Dense) {
	r.grads = grads
	if r.chain != nil {
		r.chain.Watch(grads)
	}
}

// Rank implements train.Group.
func (r *Ranks) Rank() int { return r.engine.Rank() }

// Size implements train.Group.
func (r *Ranks) Size() int { return r.engine.Size() }

// Engine names the engine and how it adds up.
func (r *Ranks) Engine() string { return r.engine.Name() + ", " + r.mode }

// Piece implements train.Group. In order, neighbouring pieces are those of neighbouring ranks, so that all compute at the same time.
func (r *Ranks) Piece(i, perRank int) int {
	if r.mode == Fast {
		return r.Rank()*perRank + i
	}
	return i*r.Size() + r.Rank()
}

// Owner implements train.Group.
func (r *Ranks) Owner(piece, perRank int) int {
	if r.mode == Fast {
		return piece / perRank
	}
	return piece % r.Size()
}

// Begin implements train.Group.
func (r *Ranks) Begin(piece, pieces int) error {
	if r.chain == nil {
		return nil
	}
	if pieces > r.Size() && r.engine.Blocks() {
		return fmt.Errorf("dist: %s adds up in order with one micro-batch a rank only, not %d: leave --micro-batches out, or give --allreduce fast",
			r.engine.Name(), pieces/r.Size())
	}
	if err := r.chain.end(); err != nil {
		return err
	}
	if err := r.engine.Wait(); err != nil { // what was sent of the piece before is received into again
		return fmt.Errorf("dist: sums: %w", err)
	}
	r.chain.begin(piece, pieces)
	return nil
}

// Finish implements train.Group.
func (r *Ranks) Finish() error {
	if r.chain != nil {
		if err := r.chain.end(); err != nil {
			return err
		}
		if err := r.engine.Wait(); err != nil {
			return fmt.Errorf("dist: sums: %w", err)
		}
	}
	for _, g := range r.grads {
		var err error
		if r.mode == Fast {
			err = r.engine.Sum(g)
		} else {
			err = r.engine.Broadcast(g, r.Size()-1) // whose the last piece is
		}
		if err != nil {
			return fmt.Errorf("dist: gradients: %w", err)
		}
	}
	return nil
}

// Broadcast implements train.Group.
func (r *Ranks) Broadcast(t *tensor.Dense, root int) error { return r.engine.Broadcast(t, root) }

// Exchange implements train.Group.
func (r *Ranks) Exchange(mine []byte) ([][]byte, error) { return r.hub.Exchange(mine) }

// Same compares what ranks must have in common. Errors: *DifferentError, on every rank.
func (r *Ranks) Same(facts []Fact) error { return Same(r.hub, append(slices.Clone(r.facts), facts...)) }

// Close leaves the group. err says why, where that is an error: the others end with it.
func (r *Ranks) Close(err error) error {
	r.hub.Leave(err)
	if err != nil {
		return nil // the others are not waited for
	}
	return backend.First(r.engine.Close(), r.hub.Close())
}
