package report

import (
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "gonum.org/v1/plot/...", "gonum.org/v1/plot", "google.golang.org/protobuf/encoding/protowire", "mito/engine/files")
}
