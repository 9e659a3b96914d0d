package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files (name -> content; a name ending in '/' is a folder) and returns their folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(root, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o777); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestOutputFolderRule(t *testing.T) {
	cases := []struct {
		name       string
		files      map[string]string
		model, run bool // may be written as a model, as a run
	}{
		{"empty", nil, true, true},
		{"a stale temporary name only", map[string]string{".x.mito-tmp-0123456789abcdef": ""}, true, true},
		{"somebody's files", map[string]string{"thesis.tex": "x"}, false, false},
		{"somebody's files, one with such a name", map[string]string{"thesis.tex": "x", ".x.mito-tmp-0123456789abcdef": "y"}, false, false},
		{"somebody's folder", map[string]string{"src/": ""}, false, false},
		{"another program's model", map[string]string{"config.json": `{"model_type":"llama"}`, "model.safetensors": ""}, false, false},
		{"broken config", map[string]string{"config.json": `{"model_type":"mi`}, false, false},
		{"mito's model by config", map[string]string{"config.json": `{"model_type":"mito"}`}, true, false},
		{"mito's model by marker", map[string]string{"mito.json": `{"mito":1,"kind":"model"}`}, true, false},
		{"mito's run", map[string]string{"mito.json": `{"mito":1,"kind":"run"}`, "report.md": ""}, false, true},
		{"a marker of something else", map[string]string{"mito.json": `{"name":"mito cell"}`}, false, false},
		{"a marker that is no JSON", map[string]string{"mito.json": "mitochondria"}, false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, c.files)
			var fe *ForeignError
			if err := CheckOutput(dir, KindModel); (err == nil) != c.model || err != nil && !errors.As(err, &fe) {
				t.Errorf("as a model: %v", err)
			}
			if err := MarkRun(dir); (err == nil) != c.run || err != nil && !errors.As(err, &fe) {
				t.Errorf("as a run: %v", err)
			}
			if c.run {
				if err := MarkRun(dir); err != nil || !exists(filepath.Join(dir, MarkerName)) {
					t.Errorf("marked again: %v", err)
				}
				return
			}
			if err := SaveDir(dir, partNames, version(osDisk{}, "v")); (err == nil) != c.model {
				t.Errorf("saving: %v", err)
			}
			if !c.model {
				for name, text := range c.files {
					if got, err := os.ReadFile(filepath.Join(dir, name)); !strings.HasSuffix(name, "/") && (err != nil || string(got) != text) {
						t.Errorf("%s was touched: %q %v", name, got, err)
					}
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"check": CheckOutput(file, KindModel), "claim": MarkRun(file), "save": SaveDir(file, partNames, version(osDisk{}, "v")),
	} {
		var fe *ForeignError
		if !errors.As(err, &fe) {
			t.Errorf("%s on a file: %v", name, err)
		}
	}
}

// What a user puts beside the files of a checkpoint survives the next one, and is never written over.
func TestForeignFilesSurvive(t *testing.T) {
	for _, noExchange := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "best")
		save := func(v string) error {
			d := &faultyDisk{step: 1 << 30, noExchange: noExchange}
			return saveDir(d, dir, partNames, version(d, v))
		}
		if err := save("one"); err != nil {
			t.Fatal(err)
		}
		mine := map[string]string{"notes.txt": "keep", "plots/a/b.svg": "<svg/>"}
		for name, text := range mine {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range []string{"two", "three"} {
			if err := save(v); err != nil || versionAt(t, dir) != v {
				t.Fatal(v, err)
			}
		}
		for name, text := range mine {
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != text {
				t.Errorf("%s: %q %v", name, got, err)
			}
		}
		// A file of the user where mito wants to write one of its own.
		err := saveDir(osDisk{}, dir, partNames, func(tmp string) error {
			return os.WriteFile(filepath.Join(tmp, "notes.txt"), []byte("mito's"), 0o666)
		})
		var fe *ForeignError
		if !errors.As(err, &fe) || versionAt(t, dir) != "three" {
			t.Errorf("written over: %v", err)
		}
	}
}

// A model without a marker (made by hand or by another tool) gives up its standard files and keeps the others.
func TestUnmarkedModelReplaced(t *testing.T) {
	dir := tree(t, map[string]string{"config.json": `{"model_type":"mito"}`, "model.safetensors": "old", "README.md": "mine"})
	if err := SaveDir(dir, partNames, version(osDisk{}, "new")); err != nil || versionAt(t, dir) != "new" {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "README.md")); string(got) != "mine" {
		t.Error(string(got), err)
	}
}

// The interrupted swap is only undone when nothing of value stands in the way.
func TestRecoverKeepsWhatIsNotItsOwn(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "last")
	interrupted := func() {
		if err := SaveDir(dir, partNames, version(osDisk{}, "old")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, oldName(dir)); err != nil {
			t.Fatal(err)
		}
	}
	interrupted()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Recover(dir); err != nil || versionAt(t, dir) != "old" {
		t.Fatal("an empty folder in the way:", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	interrupted()
	if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, "x"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	var fe *ForeignError
	if err := Recover(dir); !errors.As(err, &fe) {
		t.Fatal("a foreign folder in the way:", err)
	}
	if !exists(oldName(dir)) || !exists(filepath.Join(dir, "x")) {
		t.Fatal("something was removed")
	}
	// A hidden folder of that name which mito did not make is left alone.
	other := filepath.Join(parent, "other")
	err := errors.Join(os.Mkdir(oldName(other), 0o777), os.WriteFile(filepath.Join(oldName(other), "x"), nil, 0o666), Recover(other))
	if err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(oldName(other), "x")) || exists(other) {
		t.Error("a foreign hidden folder was touched")
	}
}
