package prune

import (
	"testing"

	"mito/engine/internal/imports"
)

func TestImports(t *testing.T) {
	imports.Direct(t, "gorgonia.org/tensor", "mito/backend", "mito/engine/arch", "mito/engine/compress/hessian", "mito/engine/compress/quant", "mito/engine/data",
		"mito/engine/files", "mito/engine/model", "mito/engine/train")
}
