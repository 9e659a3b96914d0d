package imports

import (
	"slices"
	"testing"
)

func TestMatches(t *testing.T) {
	allowed := []string{"mito/engine/arch", "mito/kernels/..."}
	for path, want := range map[string]bool{
		"mito/engine/arch": true, "mito/engine/archive": false, "mito/engine/arch/sub": false,
		"mito/kernels/vec": true, "mito/kernels": false, "mito/kernelsx/vec": false, "github.com/x/y": false,
	} {
		if matches(path, allowed) != want {
			t.Errorf("%s: allowed is %v", path, !want)
		}
	}
}

// TestLists wants this package's own dependencies found: none outside the standard library.
func TestLists(t *testing.T) {
	if got := list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "."); !slices.Equal(got, []string{"mito/engine/internal/imports"}) {
		t.Errorf("%q", got)
	}
	Closure(t)
	Direct(t)
}
