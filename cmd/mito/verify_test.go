package main

import (
	"errors"
	"strings"
	"testing"

	"mito/engine/verify"
)

// The proof covers the kernels, a second reading of the file and the backends.
func TestVerifyCovers(t *testing.T) {
	need(t)
	o := works(t, "", "verify", "--model", fixtures.int8)
	for _, variant := range []string{"1 thread, batch 1", "pages of 3", "loaded again", "backend cpu, "} {
		if !strings.Contains(o.stdout, variant) {
			t.Errorf("no variant %q in\n%s", variant, o.stdout)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		identical bool
		want      string
		says      string
	}{
		{true, "", ""}, {true, "a", ""}, {true, "b", "the digest is a, expected b"}, {false, "", errDiffers.Error()}, {false, "a", errDiffers.Error()},
	} {
		err := verdict(verify.Report{Digest: "a", Identical: c.identical}, c.want)
		if (err == nil) != (c.says == "") || err != nil && err.Error() != c.says || errors.Is(err, errDiffers) == c.identical {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
