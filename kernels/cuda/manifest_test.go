package cuda

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// readManifest returns the compiler and the hash of every file that a MANIFEST names.
func readManifest(t *testing.T, path string) (compiler string, hashes map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hashes = map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "compiler "); ok {
			compiler = name
			continue
		}
		if hash, name, ok := strings.Cut(line, "  "); ok && len(hash) == 64 {
			hashes[name] = hash
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return compiler, hashes
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func glob(t *testing.T, patterns ...string) (paths []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	sort.Strings(paths)
	return paths
}

// The committed PTX is that of the committed sources: every file has the hash that the MANIFEST gives it, and the
// MANIFEST names no other.
func TestManifest(t *testing.T) {
	compiler, hashes := readManifest(t, "ptx/MANIFEST")
	if !strings.HasPrefix(compiler, "nvcc ") {
		t.Errorf("MANIFEST names the compiler %q", compiler)
	}
	for _, path := range glob(t, "*.cu", "*.cuh", "ptx/*.ptx") {
		name := filepath.Base(path)
		if got := hashOf(t, path); got != hashes[name] {
			t.Errorf("%s has changed since the PTX was made (%.8s, MANIFEST %.8s): run go generate", path, got, hashes[name])
		}
		delete(hashes, name)
	}
	for name := range hashes {
		t.Errorf("MANIFEST names %s, which does not exist", name)
	}
}

// resources.txt says what every kernel takes on either architecture, and that none spills; bench/gpu_static.sh holds it to
// what the assembler says.
func TestResources(t *testing.T) {
	text, err := os.ReadFile("resources.txt")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, path := range glob(t, "*.cu") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	lines := map[string][]string{} // threads and blocks
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		if len(f) != 8 || f[4] != "0" || f[7] == "0" {
			t.Errorf("%q: want 8 columns, no bytes spilt, a block or more", line)
			continue
		}
		lines[f[0]+" "+f[1]] = []string{f[2], f[7]}
	}
	for _, e := range Table {
		for _, arch := range []string{"sm_80 ", "sm_90 "} {
			if lines[arch+e.Name] == nil {
				t.Errorf("%s%s is not there: run bench/gpu_static.sh write", arch, e.Name)
			}
		}
	}
	for k, e := range Table {
		asked := regexp.MustCompile(`EXPORT_STRIDING\((\d+)\) ` + e.Name + `\b`).FindStringSubmatch(source)
		if asked == nil {
			continue
		}
		for _, arch := range []string{"sm_80 ", "sm_90 "} {
			if want := strconv.Itoa(Kernel(k).Striding()); asked[1] != want || !slices.Equal(lines[arch+e.Name], []string{"256", want}) {
				t.Errorf("%s is launched as %s blocks of 256, asks for %s, and has room for %v", e.Name, want, asked[1], lines[arch+e.Name])
			}
		}
	}
	if want := 2 * int(KernelCount); len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
}

// Where the compiler of the MANIFEST is installed, it makes the committed PTX to the byte.
func TestRegenerate(t *testing.T) {
	nvcc := os.Getenv("NVCC")
	if nvcc == "" {
		nvcc = "nvcc"
	}
	version, err := exec.Command(nvcc, "--version").Output()
	if err != nil {
		t.Skip("nvcc is not installed")
	}
	compiler, want := readManifest(t, "ptx/MANIFEST")
	if !strings.Contains(string(version), "V"+strings.TrimPrefix(compiler, "nvcc ")) {
		t.Skipf("the installed nvcc is not %s", compiler)
	}
	if testing.Short() {
		t.Skip("compiling every kernel takes a minute")
	}
	out := t.TempDir()
	if text, err := exec.Command("./generate.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, text)
	}
	_, got := readManifest(t, filepath.Join(out, "MANIFEST"))
	for name, hash := range want {
		if got[name] != hash {
			t.Errorf("%s: regenerated %.8s, committed %.8s", name, got[name], hash)
		}
	}
}

// The PTX names no path of the machine that made it.
func TestNoPaths(t *testing.T) {
	for _, path := range glob(t, "ptx/*.ptx") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), ".file\t") || strings.Contains(string(data), "/home/") {
			t.Errorf("%s holds file names", path)
		}
	}
}
