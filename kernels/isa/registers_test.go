package isa_test

import (
	"bytes"
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
	wide     = regexp.MustCompile(`\b[YZ]\d+\b`)
	ofSSE    = regexp.MustCompile(`^\s+[A-UW-Z][A-Z0-9]*\s.*\bX\d+\b`)
)

// functions calls f for every function of the assembly for amd64.
func functions(t *testing.T, f func(path, name string, body []byte)) {
	paths, err := filepath.Glob("../*/*_amd64.s")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no assembly: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := function.FindAllSubmatchIndex(text, -1)
		for i, m := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			f(path, string(text[m[2]:m[3]]), text[m[0]:end])
		}
	}
}

// A generator that runs out of the sixteen registers of AVX2 takes those of AVX-512 without a word, and the function then
// faults on every processor without AVX-512.
func TestFunctionsStayWithinTheirRegisters(t *testing.T) {
	n := 0
	functions(t, func(path, name string, body []byte) {
		if named512.MatchString(name) {
			return
		}
		n++
		if r := ofAVX512.Find(body); r != nil {
			t.Errorf("%s: %s uses %s, a register of AVX-512", path, name, r)
		}
	})
	if n < 70 {
		t.Errorf("%d functions without AVX-512, want all of AVX2", n)
	}
}

// An instruction of SSE between the first wide register and VZEROUPPER costs some processors over a hundred cycles.
func TestNoSSEWhileUpperHalvesAreInUse(t *testing.T) {
	functions(t, func(path, name string, body []byte) {
		inUse := false
		for line := range bytes.Lines(body) {
			switch {
			case bytes.Contains(line, []byte("VZEROUPPER")):
				inUse = false
			case wide.Match(line):
				inUse = true
			case inUse && ofSSE.Match(line):
				t.Errorf("%s: %s has %q where upper halves are in use; begin it with V", path, name, bytes.TrimSpace(line))
			}
		}
	})
}
