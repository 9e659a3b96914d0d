package tokenizer

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "golang.org/x/text/unicode/norm", "mito/engine/files")
}
