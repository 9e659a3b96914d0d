package imports

import (
	"os/exec"
	"strings"
	"testing"
)

// floors are the folders of the house from the ground up: a package imports its own floor and those below it.
var floors = []string{"kernels", "backend", "engine", "bench", "cmd"}

func floor(path string) int {
	for i, f := range floors {
		if matches(path, []string{"mito/" + f, "mito/" + f + "/..."}) {
			return i
		}
	}
	return -1
}

// TestNoArrowBackUp wants no package to import one of a floor above its own. What tests import does not count.
func TestNoArrowBackUp(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "mito/...").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	seen := map[int]bool{}
	for line := range strings.Lines(string(out)) {
		paths := strings.Fields(line)
		at := floor(paths[0])
		if at < 0 {
			t.Errorf("%s is on none of the floors %v", paths[0], floors)
		}
		seen[at] = true
		for _, path := range paths[1:] {
			if floor(path) > at {
				t.Errorf("%s imports %s, which is above it", paths[0], path)
			}
		}
	}
	if len(seen) != len(floors) {
		t.Errorf("packages on %d floors, want %d", len(seen), len(floors))
	}
}
