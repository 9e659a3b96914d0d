package files

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		first, _, _ := strings.Cut(dep, "/")
		if first == "mito" && dep != "mito/engine/files" || strings.Contains(first, ".") && !strings.HasPrefix(dep, "golang.org/x/sys/") {
			t.Errorf("imports %s", dep)
		}
	}
}
