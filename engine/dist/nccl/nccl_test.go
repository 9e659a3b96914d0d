//go:build dist && linux

package nccl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/dist"
	"mito/engine/internal/imports"
)

// The library is found, all that is used of it is there, and it makes ids, each another; no GPU is needed for that.
func TestLibrary(t *testing.T) {
	l, err := Load("")
	if err != nil {
		t.Skipf("%v", err)
	}
	v, err := l.Version()
	if err != nil || v < oldest {
		t.Fatalf("version %d, %v", v, err)
	}
	a, err := l.NewID()
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.NewID()
	if err != nil || a == b || a == (ID{}) {
		t.Errorf("ids %x and %x, %v", a[:16], b[:16], err)
	}
	if text := l.check("x", 4).Error(); !strings.Contains(text, "invalid argument") {
		t.Errorf("code 4 is %q", text)
	}
	t.Logf("NCCL %d, id %x…", v, a[:8])
}

// A library that is not there, is none, or is another's is refused in words.
func TestNoLibrary(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libnccl.so.2")
	if err := os.WriteFile(text, []byte("this is no library"), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, words := range map[string]string{"/nowhere/libnccl.so.2": "nvidia-nccl-cu13", text: text, "libc.so.6": "lacks ncclGetVersion"} {
		var e *dist.LibraryError
		if _, err := Load(path); !errors.As(err, &e) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "github.com/ebitengine/purego", "gorgonia.org/tensor", "mito/engine/dist")
}
