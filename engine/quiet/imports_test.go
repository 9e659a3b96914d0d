package quiet

import (
	"testing"

	"mito/engine/internal/imports"
)

// Whoever measures may import the package, so it imports the standard library only.
func TestImports(t *testing.T) { imports.Closure(t) }
