package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/files"
	"mito/engine/internal/imports"
)

// Whatever bit of state.json flips, the state is refused or says the same as before. Each byte is tried with three bits, of
// which one changes the case of a letter.
func TestStateFlippedBits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	if err := Save(dir, contents()); err != nil {
		t.Fatal(err)
	}
	f := must(Open(dir))
	var want bytes.Buffer
	if err := json.Compact(&want, must(f.State()).Scalars); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, StateName)
	text := must(os.ReadFile(path))
	refused := 0
	for i := range text {
		for _, bit := range []int{0, 5, i % 5} {
			changed := bytes.Clone(text)
			changed[i] ^= 1 << bit
			if err := os.WriteFile(path, changed, 0o666); err != nil {
				t.Fatal(err)
			}
			s, err := f.State()
			if err != nil {
				refused++
				continue
			}
			var got bytes.Buffer
			if err := json.Compact(&got, s.Scalars); err != nil || got.String() != want.String() {
				t.Fatalf("bit %d of byte %d: %s instead of %s", bit, i, got.String(), want.String())
			}
		}
	}
	if refused < 2*len(text) {
		t.Errorf("refused %d of %d changes", refused, 3*len(text))
	}
}

// What was changed is named, with what to do about it.
func TestStateSaysWhatToDo(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return []byte(strings.Replace(string(b), old, new, 1)) }
	}
	for name, c := range map[string]struct {
		file string
		edit func([]byte) []byte
		want error
		says string
	}{
		"another step":      {StateName, replace(`"step": 7`, `"step": 6`), ErrHash, "put back a copy"},
		"another hash":      {StateName, replace(`"sha256": "`, `"sha256": "0`), ErrHash, "put back a copy"},
		"no hash":           {StateName, replace(`"sha256"`, `"sha257"`), ErrHash, "put back a copy"},
		"an older mito":     {StateName, replace(`"version": 2`, `"version": 1`), ErrRange, "end the run with that mito"},
		"other config":      {ConfigName, replace(`6`, `7`), ErrHash, "put back a copy"},
		"another tokenizer": {TokenizerName, replace(`{}`, `{"a":1}`), ErrHash, "put back a copy"},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := Save(dir, contents()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		old := must(os.ReadFile(path))
		changed := c.edit(old)
		if bytes.Equal(old, changed) {
			t.Fatalf("%s: nothing changed in %s", name, old)
		}
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := must(Open(dir)).State()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %s and %q", name, err, c.want, path, c.says)
		}
	}
	// How text is drawn may be changed, and a layout is no content.
	dir := filepath.Join(t.TempDir(), "m")
	if err := Save(dir, contents()); err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, must(os.ReadFile(filepath.Join(dir, StateName)))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, StateName), compact.Bytes(), 0o666),
		os.WriteFile(filepath.Join(dir, GenerationName), []byte(`{"top_k":5}`), 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, err := must(Open(dir)).State(); err != nil {
		t.Error(err)
	}
}

// FuzzState: no state.json makes the reader panic, and what it accepts has the hash that it says.
func FuzzState(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "m")
	if err := Save(dir, contents()); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, StateName)
	f.Add(must(os.ReadFile(path)))
	f.Add([]byte(`{"version":2,"files_sha256":{"../x":""},"scalars":null,"sha256":""}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s stateFile
		if files.DecodeJSON(data, &s) != nil {
			return
		}
		err := s.check(path)
		var fe *FormatError
		if err != nil && !errors.As(err, &fe) {
			t.Fatalf("untyped error %v", err)
		}
		if err == nil && must(s.hash()) != s.SHA256 {
			t.Fatal("accepted with another hash")
		}
	})
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Closure(t, "mito/engine/files", "mito/kernels/sentinel", "golang.org/x/sys/...")
}
