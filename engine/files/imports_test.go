package files

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) { imports.Closure(t, "golang.org/x/sys/...") }
