//go:build cuda && cudaemu && asan

package cudaemu_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"mito/backend/cuda/cudax"
)

// sanitized: static shared memory is not poisoned then, but guarded.
const sanitized = true

// AddressSanitizer ends the process where a kernel leaves an allocation or its shared memory. Each access is made by a
// process of its own.
func TestOutOfBounds(t *testing.T) {
	const variable = "CUDAEMU_TEST_ACCESS"
	kinds := map[string]int{"read": 0, "write": 1, "static shared": 2, "dynamic shared": 3}
	if kind, ok := kinds[os.Getenv(variable)]; ok {
		r := newRig(t, "test_out_of_bounds")
		must(t, r.launch("test_out_of_bounds", 1, 32, new(cudax.Args).Ptr(cudax.Address(r.alloc(32))).I32(8).I32(kind)))
		return
	}
	for name := range kinds {
		c := exec.Command(os.Args[0], "-test.run=^TestOutOfBounds$")
		c.Env = append(os.Environ(), variable+"="+name)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "AddressSanitizer") {
			t.Errorf("%s past the end: %v\n%s", name, err, out)
		}
	}
}
