package train

import (
	"errors"
	"fmt"

	"mito/backend"
	"mito/engine/model"
)

// outOfMemory adds to the error of a batch that does not fit how many of its sequences would. Activations grow by the same
// size with every sequence, so what is free is divided by that: trying would end with the process being killed.
func outOfMemory(err error, m *model.Model, rows, tokens int) error {
	var memory *backend.MemoryError
	if !errors.As(err, &memory) {
		return fmt.Errorf("train: %w", err)
	}
	one, err1 := m.ActivationBytes(1, tokens, true)
	two, err2 := m.ActivationBytes(2, tokens, true)
	if err1 != nil || err2 != nil || two <= one {
		return fmt.Errorf("train: %w", err)
	}
	// Rounding of sizes to whole cache lines makes a sequence a little cheaper or dearer; a hundredth covers that.
	fit := int(max(0, memory.Free-memory.Free/100-one)/(two-one)) + 1
	if one > memory.Free {
		return fmt.Errorf("train: not even one sequence of %d tokens fits, which takes %d MiB; a smaller model or a shorter context is needed: %w",
			tokens, one>>20, err)
	}
	fit = min(fit, rows-1)
	return fmt.Errorf("train: %d of the batch's %d sequences fit at a time: "+
		"use %d micro-batches, which give the same weights, or a smaller batch: %w", fit, rows, (rows+fit-1)/fit, err)
}
