package mpi

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "github.com/ebitengine/purego", "gorgonia.org/tensor", "mito/engine/dist")
}
