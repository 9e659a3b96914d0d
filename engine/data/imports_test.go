package data

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "mito/backend/memlimit", "mito/engine/files", "mito/engine/tokenizer")
}
