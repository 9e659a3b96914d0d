package sentinel_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"mito/backend"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/files"
	"mito/engine/student"
	"mito/kernels/attn"
	"mito/kernels/qgemm"
	"mito/kernels/sentinel"
	"mito/kernels/sparse"
)

// TestOneError: whoever says it, errors.Is finds it.
func TestOneError(t *testing.T) {
	for want, all := range map[error][]error{
		sentinel.ErrShape: {qgemm.ErrShape, sparse.ErrShape, attn.ErrShape, checkpoint.ErrShape, quant.ErrShape,
			&student.ShapeError{}, &backend.ShapeError{}},
		sentinel.ErrNotFinite:  {student.ErrNotFinite, checkpoint.ErrNotFinite, quant.ErrNotFinite, decode.ErrNotFinite},
		sentinel.ErrMinus128:   {qgemm.ErrMinus128, sparse.ErrMinus128, student.ErrMinus128},
		sentinel.ErrMissing:    {checkpoint.ErrMissing, quant.ErrMissing},
		sentinel.ErrUnexpected: {checkpoint.ErrUnexpected, quant.ErrUnexpected},
		files.ErrTooLarge:      {checkpoint.ErrTooLarge, data.ErrTooLarge},
		files.ErrNotRegular:    {data.ErrNotRegular},
	} {
		for i, err := range all {
			if !errors.Is(err, want) {
				t.Errorf("number %d of %q is %q", i, want, err)
			}
		}
	}
}

// TestImports holds what the package says of imports.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	for dep := range strings.Lines(string(out)) {
		if dep = strings.TrimSpace(dep); strings.HasPrefix(dep, "mito/") && dep != "mito/kernels/sentinel" || strings.Contains(dep, ".") {
			t.Errorf("imports %s", dep)
		}
	}
}
