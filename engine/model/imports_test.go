package model

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "gorgonia.org/tensor", "mito/backend", "mito/engine/arch", "mito/engine/checkpoint", "mito/engine/export/hf", "mito/kernels/blocks")
}
