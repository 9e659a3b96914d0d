//go:build !purego

package kerneltest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "mito/kernels/attn"
	_ "mito/kernels/edge"
	_ "mito/kernels/gemm"
	"mito/kernels/isa"
	"mito/kernels/kerneltest"
	_ "mito/kernels/kv"
	_ "mito/kernels/peak"
	_ "mito/kernels/qgemm"
	_ "mito/kernels/sparse"
	_ "mito/kernels/vec"
)

// TestListedIsWhatTheBuildHas holds variants.txt against the dispatchers of this architecture, usable here or not, and
// logs which of them this processor can run.
func TestListedIsWhatTheBuildHas(t *testing.T) {
	arch, _, _ := strings.Cut(kerneltest.Line("", ""), "/")
	var want, have, packages []string
	for _, line := range kerneltest.Listed() {
		if strings.HasPrefix(line, arch+"/") {
			want = append(want, line)
		}
	}
	for _, k := range isa.Kernels() {
		packages = append(packages, k.Package())
		for _, v := range k.All() {
			have = append(have, kerneltest.Line(k.Package(), v))
		}
		for _, v := range k.Variants() {
			t.Logf("kernel variant usable: %s", kerneltest.Line(k.Package(), v))
		}
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("variants.txt differs from what this build has: it must list\n%s", strings.Join(have, "\n"))
	}

	// A kernel package that this test does not import would not be seen above.
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no kernel packages beside this one: %v", err)
	}
	dispatcher := regexp.MustCompile(`isa\.New\("([^"]+)"`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || filepath.Base(filepath.Dir(f)) == "isa" {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range dispatcher.FindAllSubmatch(b, -1) {
			if !slices.Contains(packages, string(m[1])) {
				t.Errorf("%s makes a dispatcher %q: import its package in this test", f, m[1])
			}
		}
	}
}
