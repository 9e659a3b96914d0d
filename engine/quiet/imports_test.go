package quiet

import (
	"os/exec"
	"strings"
	"testing"
)

// Whoever measures may import the package, so it imports the standard library only.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	if got := strings.Fields(string(out)); len(got) != 1 || got[0] != "mito/engine/quiet" {
		t.Errorf("imports %v", got)
	}
}
