package kerneltest

import (
	_ "embed"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"mito/kernels/isa"
)

//go:embed variants.txt
var listed string

// Listed returns every variant of every kernel package as a line ARCHITECTURE/PACKAGE/VARIANT, sorted. "others" stands
// for the architectures that have the generic kernels only.
func Listed() []string { return strings.Fields(strings.ReplaceAll(listed, " ", "_")) }

// Line names a variant of a kernel package on this architecture as Listed does.
func Line(pkg, variant string) string {
	arch := "others"
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" {
		arch = runtime.GOARCH
	}
	return fmt.Sprintf("%s/%s/%s", arch, strings.ReplaceAll(pkg, " ", "_"), variant)
}

// Variants runs f as a subtest for every variant of a kernel package that this processor can run, restores the chosen
// one, and logs which ran.
func Variants(t *testing.T, kernels isa.Switch, f func(t *testing.T)) {
	t.Helper()
	chosen := kernels.Variant()
	t.Cleanup(func() {
		if err := kernels.SetVariant(chosen); err != nil {
			t.Errorf("restore variant %s: %v", chosen, err)
		}
	})
	for _, name := range kernels.Variants() {
		t.Run(name, func(t *testing.T) {
			if err := kernels.SetVariant(name); err != nil {
				t.Fatal(err)
			}
			f(t)
			if !t.Failed() {
				Ran(t, kernels.Package(), name)
			}
		})
	}
}

// Ran logs that a test has run a variant and that its results were right. A script that is given the logs of all
// architectures compares these lines with Listed.
func Ran(t *testing.T, pkg, variant string) {
	t.Helper()
	t.Logf("kernel variant ran: %s", Line(pkg, variant))
}
