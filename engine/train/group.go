package train

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Group is the processes that compute a run together: each has a backend, a model and a Trainer of its own, and does a share of
// every batch. All call the same methods in the same order. A group of one process is nil.
type Group interface {
	Rank() int
	Size() int
	// Piece is the i-th piece of a batch that this rank computes, of perRank·Size that it is cut into in the order of its rows.
	Piece(i, perRank int) int
	// Owner is the rank that computes a piece.
	Owner(piece, perRank int) int
	// Begin says that the pass over a piece is next.
	Begin(piece, pieces int) error
	// Finish ends the passes of a step: the gradients are the sums over all pieces then, on every rank.
	Finish() error
	// Broadcast makes t [any] f32 on every rank what it is on root.
	Broadcast(t *tensor.Dense, root int) error
	// Exchange gives every rank what each of them has brought, by rank.
	Exchange(mine []byte) ([][]byte, error)
}

// ErrStopped says that another rank was told to stop.
var ErrStopped = fmt.Errorf("another rank was told to stop: %w", context.Canceled)

// pieces are how many parts a batch is computed in, by all ranks together.
func (t *Trainer) pieces() int { return t.o.MicroBatches * t.size() }

func (t *Trainer) size() int {
	if t.group == nil {
		return 1
	}
	return t.group.Size()
}

// piece is which of them the i-th micro-batch of this rank is.
func (t *Trainer) piece(i int) int {
	if t.group == nil {
		return i
	}
	return t.group.Piece(i, t.o.MicroBatches)
}

// begin says which piece the next pass is over.
func (t *Trainer) begin(m *microBatch) error {
	if t.group == nil {
		return nil
	}
	return t.group.Begin(m.piece, t.pieces())
}

// summed ends the passes of a step.
func (t *Trainer) summed() error {
	if t.group == nil {
		return nil
	}
	return t.group.Finish()
}

// agree returns the error that ends the run on every rank where any of them has one: ranks are told to stop at different times, and
// have to save the same step.
func (t *Trainer) agree(mine error) error {
	if t.group == nil {
		return mine
	}
	state := []byte{0}
	if mine != nil {
		state[0] = 1
	}
	all, err := t.group.Exchange(state)
	if err != nil || mine != nil {
		return errors.Join(mine, err)
	}
	if slices.ContainsFunc(all, func(b []byte) bool { return len(b) == 1 && b[0] != 0 }) {
		return ErrStopped
	}
	return nil
}

// keepLoss keeps the losses of a micro-batch until those of all ranks are added up.
func (t *Trainer) keepLoss(name string, m *microBatch, loss []float32) {
	full := t.losses[name]
	if full == nil {
		full = make([]float32, t.batch.Rows*t.batch.Time)
		t.losses[name] = full
	}
	copy(full[m.Row*t.batch.Time:], loss)
}

// pool adds up the losses of a step that ranks hold in pieces, token by token in the order of the rows, as one process does.
func (t *Trainer) pool(r *StepResult, weight float64) error {
	for _, name := range slices.Sorted(maps.Keys(t.losses)) {
		full := t.losses[name]
		var mine []byte
		for i := range t.micro {
			m := &t.micro[i]
			mine = append(mine, bytesOf(full[m.Row*t.batch.Time:][:m.Rows*t.batch.Time])...)
		}
		all, err := t.group.Exchange(mine)
		if err != nil {
			return err
		}
		if err := t.place(full, all); err != nil {
			return err
		}
		mean := 0.0
		t.sum.add(&mean, name, full, true, weight)
		r.set(name, mean)
	}
	return nil
}

// place puts what each rank brought where its rows are.
func (t *Trainer) place(full []float32, all [][]byte) error {
	rows, time, n := t.batch.Rows, t.batch.Time, t.pieces()
	for piece := range n {
		owner := t.group.Owner(piece, t.o.MicroBatches)
		lo, hi := rows*piece/n*time, rows*(piece+1)/n*time
		if len(all[owner]) < 4*(hi-lo) {
			return fmt.Errorf("train: rank %d gave %d bytes of losses where %d belong", owner, len(all[owner]), 4*(hi-lo))
		}
		copy(bytesOf(full[lo:hi]), all[owner])
		all[owner] = all[owner][4*(hi-lo):]
	}
	return nil
}

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// standing is where a run stands, which rank 0 tells the others.
type standing struct {
	Step        int         `json:"step"`
	Best        Best        `json:"best"`
	Unevaluated bool        `json:"unevaluated"`
	Extended    []Extension `json:"extended"`
}

// Share makes the run on every rank what it is on rank 0, which alone may have resumed it. It does nothing for one process.
func (t *Trainer) Share() error {
	if t.group == nil {
		return nil
	}
	mine, err := json.Marshal(standing{t.step, t.best, t.unevaluated, t.extended})
	if err != nil {
		return err
	}
	all, err := t.group.Exchange(mine)
	if err != nil {
		return err
	}
	var s standing
	if err := json.Unmarshal(all[0], &s); err != nil {
		return err
	}
	t.step, t.best, t.unevaluated, t.extended = s.Step, s.Best, s.Unevaluated, s.Extended
	for _, p := range t.Model.Params.List {
		if p.Mask == nil {
			continue
		}
		mask := make([]float32, p.Size())
		if err := backend.First(t.group.Broadcast(p.Mask, 0), t.b.Download(mask, p.Mask), t.Model.SetMask(p, mask)); err != nil {
			return err
		}
	}
	for _, f := range t.flats() {
		if err := t.group.Broadcast(f.tensor, 0); err != nil {
			return err
		}
	}
	return nil
}

// collect brings every rank the moments that others keep for the matrices they update, and compares the weights of all, which are
// the same where everything is well.
func (t *Trainer) collect() error {
	if t.group == nil {
		return nil
	}
	if err := t.opt.exchange(t.opt.first); err != nil {
		return err
	}
	host := make([]float32, t.Model.Params.Length())
	if err := t.b.Download(host, t.Model.Params.Value); err != nil {
		return err
	}
	sum := sha256.Sum256(bytesOf(host))
	all, err := t.group.Exchange(sum[:])
	if err != nil {
		return err
	}
	for rank, other := range all {
		if string(other) != string(all[0]) {
			return fmt.Errorf("train: after step %d the weights of rank %d are not those of rank 0: the engine's reduction gave them different "+
				"sums, or a machine computes wrongly; go on from the last checkpoint, without --allreduce fast", t.step, rank)
		}
	}
	return nil
}
