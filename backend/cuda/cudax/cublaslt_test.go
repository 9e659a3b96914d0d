//go:build cuda && !cudaemu

package cudax_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mito/backend/cuda/cudax"
)

// What is missing is said: the library, or a function of it. Where there is a library and no GPU, it has every function and does not
// start.
func TestOpenLt(t *testing.T) {
	for library, says := range map[string]string{
		"libmito-has-none.so": "none of [libmito-has-none.so] was found", "libm.so.6": "libm.so.6 has no cublasLtCreate",
	} {
		if _, err := cudax.OpenLt(library); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", library, err, says)
		}
	}
	l, err := cudax.OpenLt(cudax.LtLibraries...)
	var status *cudax.BlasError
	switch {
	case err == nil:
		t.Logf("%s starts", l.Library())
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	case errors.As(err, &status):
		t.Logf("there is a library: %v", err)
	case strings.Contains(err.Error(), "was found"):
		t.Skip(err)
	default:
		t.Error(err)
	}
}

// The declarations are those of the library's own header, where a toolkit is installed.
func TestLtDeclarations(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip(err)
	}
	header, err := filepath.Abs("cublaslt.h")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "check.c")
	text := `#include <cublasLt.h>
#include "` + header + `"
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a)
SAME(LT_R_32F, CUDA_R_32F);
SAME(LT_R_16BF, CUDA_R_16BF);
SAME(LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(LT_COMPUTE_32F_FAST_16BF, CUBLAS_COMPUTE_32F_FAST_16BF);
SAME(LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(LT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(LT_PREF_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(LT_PREF_ALIGNMENT_A + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(sizeof(lt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(lt_heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(lt_heuristic, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
int main(void) { return 0; }
`
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	probe := exec.Command(cc, "-xc", "-fsyntax-only", "-")
	probe.Stdin = strings.NewReader("#include <cublasLt.h>\n")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("no header of cuBLASLt: %.200s", out)
	}
	if out, err := exec.Command(cc, "-fsyntax-only", source).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
