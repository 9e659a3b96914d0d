// Package imports holds packages to what their doc.go says they import. It is for tests.
package imports

import (
	"os/exec"
	"strings"
	"testing"
)

// Closure fails when the package of the test depends, directly or not, on a package outside the standard library that is not
// allowed. An allowed path that ends in /... stands for all below it.
func Closure(t *testing.T, allowed ...string) {
	t.Helper()
	check(t, "depends on", list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "."), allowed)
}

// Direct is Closure for what the package itself imports.
func Direct(t *testing.T, allowed ...string) {
	t.Helper()
	var outside []string
	for _, path := range list(t, "-f", `{{join .Imports "\n"}}`, ".") {
		if first, _, _ := strings.Cut(path, "/"); first == "mito" || strings.Contains(first, ".") {
			outside = append(outside, path)
		}
	}
	check(t, "imports", outside, allowed)
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

func check(t *testing.T, verb string, paths, allowed []string) {
	t.Helper()
	self := list(t, ".")
	for _, path := range paths {
		if path != self[0] && !matches(path, allowed) {
			t.Errorf("%s %s %s, which its doc.go does not allow", self[0], verb, path)
		}
	}
}

func matches(path string, allowed []string) bool {
	for _, a := range allowed {
		below, all := strings.CutSuffix(a, "/...")
		if path == a || all && strings.HasPrefix(path, below+"/") {
			return true
		}
	}
	return false
}
