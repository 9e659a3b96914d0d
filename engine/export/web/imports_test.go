package web

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/export/c99", "mito/engine/internal/chromium", "mito/engine/student", "mito/engine/task", "mito/engine/tokenizer")
}
