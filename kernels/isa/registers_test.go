package isa_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var (
	function = regexp.MustCompile(`(?m)^TEXT ·([A-Za-z0-9_]+)`)
	// The registers that only AVX-512 encodes: the upper sixteen, those of 512 bits, and masks.
	ofAVX512 = regexp.MustCompile(`\b(?:[XY](?:1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b`)
	named512 = regexp.MustCompile(`AVX512`)
)

// A generator that runs out of the sixteen registers of AVX2 takes those of AVX-512 without a word, and the function then
// faults on every processor without AVX-512.
func TestFunctionsStayWithinTheirRegisters(t *testing.T) {
	paths, err := filepath.Glob("../*/*_amd64.s")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no assembly: %v", err)
	}
	n := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := function.FindAllSubmatchIndex(text, -1)
		for i, f := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			name := string(text[f[2]:f[3]])
			if named512.MatchString(name) {
				continue
			}
			n++
			if r := ofAVX512.Find(text[f[0]:end]); r != nil {
				t.Errorf("%s: %s uses %s, a register of AVX-512", path, name, r)
			}
		}
	}
	if n < 70 {
		t.Errorf("%d functions without AVX-512, want all of AVX2", n)
	}
}
