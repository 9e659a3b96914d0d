package quant

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/checkpoint", "mito/engine/compress/hessian", "mito/engine/export/hf", "mito/engine/student", "mito/kernels/sentinel", "mito/kernels/vec")
}
