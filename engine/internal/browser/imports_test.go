package browser

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports: of mito the package imports nothing.
func TestImports(t *testing.T) { imports.Direct(t) }
