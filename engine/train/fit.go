package train

import (
	"errors"
	"fmt"

	"mito/backend"
	"mito/engine/model"
)

// outOfMemory adds to the error of a batch that does not fit how many of its sequences would, found by trying.
func outOfMemory(err error, m *model.Model, rows, tokens int) error {
	if !errors.Is(err, backend.ErrOutOfMemory) {
		return fmt.Errorf("train: %w", err)
	}
	fits := func(n int) bool {
		size, sizeErr := m.ActivationBytes(n, tokens, true)
		if sizeErr != nil {
			return false
		}
		slab, slabErr := m.Backend().NewSlab(size)
		return slabErr == nil && slab.Free() == nil
	}
	lo, hi := 0, rows // lo fits, hi does not
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; fits(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return fmt.Errorf("train: not even one sequence of %d tokens fits; a smaller model or a shorter context is needed: %w", tokens, err)
	}
	return fmt.Errorf("train: %d of the batch's %d sequences fit at a time: "+
		"use %d micro-batches, which give the same weights, or a smaller batch: %w", lo, rows, (rows+lo-1)/lo, err)
}
