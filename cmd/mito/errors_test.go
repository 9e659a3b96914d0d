package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Messages have no names of packages, of none that there is.
func TestPlain(t *testing.T) {
	for message, want := range map[string]string{
		"train: steps is 0":                            "steps is 0",
		"teacher: train: train: step 3: model: x is 1": "teacher: step 3: x is 1",
		"a\ndecode: b":                                 "a\nb",
		"the data: full":                               "the data: full",
		"config: heads is 3":                           "config: heads is 3",
	} {
		if got := plain(message); got != want {
			t.Errorf("%q became %q, want %q", message, got, want)
		}
	}
	// A package counts that begins a message with its own name.
	for _, root := range []string{"../../engine", "../../backend", "../../kernels", "../../bench"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if name := d.Name(); strings.HasPrefix(name, "_") || name == "testdata" || name == "include" || name == "kerneltest" {
				return fs.SkipDir
			}
			name := d.Name()
			files, err := filepath.Glob(filepath.Join(path, "*.go"))
			for _, file := range files {
				if !strings.HasSuffix(file, "_test.go") && strings.Contains(read(t, file), `"`+name+": ") && plain(name+": x") != "x" {
					t.Errorf("messages keep the name of package %s (%s): add it to packages", name, file)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMeant(t *testing.T) {
	known := []string{"train", "task", "eval", "distill"}
	for word, want := range map[string]string{
		"trian": "train", "tra": "train", "tsak": "task", "evla": "eval", "destil": "distill", "zzz": "", "frobnicate": "",
	} {
		got := meant(word, known)
		if want == "" && got != "" || want != "" && got != "; did you mean "+want+"?" {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
