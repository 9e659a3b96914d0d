package c99

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/grammar", "mito/engine/session/adapters", "mito/engine/student", "mito/engine/task", "mito/engine/tokenizer")
}
