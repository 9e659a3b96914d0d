package web

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readManifest returns the compiler and the hash of every file that a MANIFEST names.
func readManifest(t *testing.T, path string) (compiler string, hashes map[string]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hashes = map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "compiler "); ok {
			compiler = name
		} else if hash, name, ok := strings.Cut(line, "  "); ok && len(hash) == 64 {
			hashes[name] = hash
		}
	}
	return compiler, hashes
}

// The committed programs are those of the committed sources: every file has the hash that the MANIFEST gives it, and the MANIFEST
// names no other.
func TestManifest(t *testing.T) {
	compiler, hashes := readManifest(t, "wasm/MANIFEST")
	if !strings.HasPrefix(compiler, "clang version ") {
		t.Errorf("MANIFEST names the compiler %q", compiler)
	}
	for _, pattern := range []string{"generate.sh", "runtime/*", "../c99/runtime/*", "wasm/*.wasm"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			name := strings.TrimPrefix(path, "wasm/")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != hashes[name] {
				t.Errorf("%s has changed since wasm/ was made: run go generate ./engine/export/web (with clang and lld)", path)
			}
			delete(hashes, name)
		}
	}
	for name := range hashes {
		t.Errorf("MANIFEST names %s, which does not exist", name)
	}
}

// Where the compiler of the MANIFEST is installed, it makes the committed programs to the byte.
func TestRegenerate(t *testing.T) {
	clang := os.Getenv("CLANG")
	if clang == "" {
		clang = "clang"
	}
	version, err := exec.Command(clang, "--version").Output()
	if err != nil {
		t.Skip("clang is not installed")
	}
	compiler, want := readManifest(t, "wasm/MANIFEST")
	if !strings.Contains(string(version), compiler) {
		t.Skipf("the installed clang is not %s", compiler)
	}
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		t.Skip("wasm-ld, of the package lld, is not installed")
	}
	out := t.TempDir()
	if text, err := exec.Command("./generate.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, text)
	}
	_, got := readManifest(t, filepath.Join(out, "MANIFEST"))
	for name, hash := range want {
		if got[name] != hash {
			t.Errorf("%s: generated %.8s, committed %.8s", name, got[name], hash)
		}
	}
}

// The programs hold no path of the machine that compiled them, and import nothing of an environment.
func TestNoPaths(t *testing.T) {
	for _, name := range []string{"wasm/scalar.wasm", "wasm/simd.wasm"} {
		data, err := parts.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, part := range []string{"/home/", "/tmp/", "env"} {
			if strings.Contains(text, part) {
				t.Errorf("%s holds %q", name, part)
			}
		}
	}
}
