package qat

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "gorgonia.org/tensor", "mito/backend", "mito/engine/arch", "mito/engine/compress/quant", "mito/engine/model", "mito/engine/student")
}
