package pipeline

import (
	"os/exec"
	"strings"
	"testing"
)

// The benchmarks and the commands are above the pipeline.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimSpace(line); name == "mito/bench" || strings.HasPrefix(name, "mito/cmd/") {
			t.Errorf("the pipeline imports %s", name)
		}
	}
}
