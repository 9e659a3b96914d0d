package join

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "mito/backend", "mito/engine/dist", "mito/engine/dist/mpi", "mito/engine/dist/nccl")
}
