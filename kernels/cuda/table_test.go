package cuda

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write table.go from the PTX")

var (
	entryPattern = regexp.MustCompile(`(?s)\.visible \.entry (\w+)\((.*?)\n\)`)
	paramPattern = regexp.MustCompile(`\.param \.(\w+) `)
)

// entriesOf lists the kernels of the PTX, by module and name.
func entriesOf(t *testing.T) (entries []Entry) {
	t.Helper()
	letters := map[string]string{"u64": "l", "u32": "i", "f32": "f"}
	for _, path := range glob(t, "ptx/*.ptx") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		module := strings.TrimSuffix(filepath.Base(path), ".ptx")
		for _, entry := range entryPattern.FindAllSubmatch(text, -1) {
			params := ""
			for _, p := range paramPattern.FindAllSubmatch(entry[2], -1) {
				letter := letters[string(p[1])]
				if letter == "" {
					t.Fatalf("%s takes a %s, which the launcher does not know", entry[1], p[1])
				}
				params += letter
			}
			entries = append(entries, Entry{string(entry[1]), module, params})
		}
	}
	sort.Slice(entries, func(i, j int) bool {
		a, b := entries[i], entries[j]
		return a.Module < b.Module || a.Module == b.Module && a.Name < b.Name
	})
	return entries
}

// spelling is that of words which are not written like others, in Go: Gelu is GELU.
var spelling = map[string]string{
	"adamw": "AdamW", "bf16": "BF16", "dkv": "DKV", "dp4a": "DP4A", "dq": "DQ", "f32": "F32", "gelu": "GELU", "i32": "I32",
	"layernorm": "LayerNorm", "mma": "MMA", "nn": "NN", "nt": "NT", "qattention": "QAttention", "qembed": "QEmbed",
	"qlinear": "QLinear", "qsparse": "QSparse", "relu": "ReLU", "relu2": "ReLU2", "rmsnorm": "RMSNorm", "rope": "RoPE",
	"silu": "SiLU", "swiglu": "SwiGLU", "tn": "TN", "topk": "TopK", "tt": "TT",
}

// goName is the name of a kernel's constant: gelu_backward_f32 is GELUBackwardF32, and a size follows an x.
func goName(entry string) (name string) {
	for _, word := range strings.Split(entry, "_") {
		switch special := spelling[word]; {
		case special != "":
			name += special
		case word[0] >= '0' && word[0] <= '9':
			name += "x" + word
		default:
			name += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return name
}

// tableSource is table.go.
func tableSource(t *testing.T, entries []Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprint(&b, "// Code generated from ptx/*.ptx by go generate. DO NOT EDIT.\n\npackage cuda\n\n"+
		"// The kernels. What each does and how it is launched stands in its source.\nconst (\n")
	for i, e := range entries {
		fmt.Fprint(&b, "\t", goName(e.Name))
		if i == 0 {
			fmt.Fprint(&b, " Kernel = iota")
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprint(&b, "\tKernelCount\n)\n\n// Table describes every kernel.\nvar Table = [KernelCount]Entry{\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "\t%s: {%q, %q, %q},\n", goName(e.Name), e.Name, e.Module, e.Params)
	}
	fmt.Fprint(&b, "}\n")
	source, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// table.go is what the PTX says; -update writes it.
func TestTable(t *testing.T) {
	want := tableSource(t, entriesOf(t))
	if *update {
		if err := os.WriteFile("table.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table.go is not what the PTX says: run go generate")
	}
	names := map[string]bool{}
	for k, e := range Table {
		if Kernel(k).String() != e.Name || names[e.Name] {
			t.Errorf("kernel %d is called %s, or that twice", k, Kernel(k))
		}
		names[e.Name] = true
		if _, err := os.Stat("ptx/" + e.Module + ".ptx"); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}
