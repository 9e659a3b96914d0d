package checkpoint

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shards writes a folder whose weights lie in two files, and returns it with its index.
func shards(t testing.TB) (dir string, index map[string]string) {
	t.Helper()
	dir = t.TempDir()
	index = map[string]string{"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
	one, two := []Tensor{FromF32("a", []int{2}, []float32{1, 2})}, []Tensor{FromF32("b", []int{1}, []float32{3}), FromF32("c", []int{1}, []float32{4})}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, ConfigName), []byte(`{"model_type":"llama"}`), 0o666),
		WriteFile(filepath.Join(dir, index["a"]), one, nil), WriteFile(filepath.Join(dir, index["b"]), two, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	writeIndex(t, dir, index)
	return dir, index
}

func writeIndex(t testing.TB, dir string, index map[string]string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 16}, "weight_map": index})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, IndexName), text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// Weights over several files are one file, and their hash changes with any of them.
func TestShards(t *testing.T) {
	dir, index := shards(t)
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float32{"a": 1, "b": 3, "c": 4} {
		x, err := f.Weights.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := x.F32(); err != nil || v[0] != want {
			t.Errorf("%s is %v, %v", name, v, err)
		}
	}
	before, err := f.WeightsSHA256()
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, index["a"]), []Tensor{FromF32("a", []int{2}, []float32{1, 9})}, nil); err != nil {
		t.Fatal(err)
	}
	if after, err := f.WeightsSHA256(); err != nil || after == before {
		t.Errorf("the hash %s is the same for other weights, %v", after, err)
	}
	single := filepath.Join(t.TempDir(), "m")
	if err := Save(single, contents()); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(single); err != nil {
		t.Fatal(err)
	}
	if sum, err := f.WeightsSHA256(); err != nil || sum != must(FileSHA256(filepath.Join(single, WeightsName))) {
		t.Errorf("one file has the hash %s, %v", sum, err)
	}
}

// An index that does not fit its files is refused, with the file that is at fault.
func TestShardsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string, index map[string]string)
		want  error
		says  string
	}{
		"missing shard": {func(t *testing.T, dir string, index map[string]string) { os.Remove(filepath.Join(dir, index["b"])) }, ErrMissing, "fetch it"},
		"missing tensor": {func(t *testing.T, dir string, index map[string]string) {
			index["d"] = index["a"]
			writeIndex(t, dir, index)
		}, ErrMissing, `"d"`},
		"tensor twice": {func(t *testing.T, dir string, index map[string]string) {
			index["b"] = index["a"]
			writeIndex(t, dir, index)
		}, ErrUnexpected, `"b"`},
		"other tensor": {func(t *testing.T, dir string, index map[string]string) { delete(index, "c"); writeIndex(t, dir, index) }, ErrUnexpected, `"c"`},
		"outside": {func(t *testing.T, dir string, index map[string]string) {
			index["a"] = "../a.safetensors"
			writeIndex(t, dir, index)
		}, ErrRange, "of this folder"},
		"a pickle": {func(t *testing.T, dir string, index map[string]string) {
			index["a"] = "a.bin"
			writeIndex(t, dir, index)
		}, ErrRange, "of this folder"},
		"empty": {func(t *testing.T, dir string, index map[string]string) { clear(index); writeIndex(t, dir, index) }, ErrMissing, "no tensor"},
		"truncated": {func(t *testing.T, dir string, index map[string]string) {
			if err := os.Truncate(filepath.Join(dir, index["a"]), 20); err != nil {
				t.Fatal(err)
			}
		}, ErrTruncated, "00001"},
	} {
		dir, index := shards(t)
		c.spoil(t, dir, index)
		if _, err := Open(dir); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.want, c.says)
		}
	}
}

// Weights in a pickle are refused with what turns them into safetensors.
func TestPickle(t *testing.T) {
	for _, name := range []string{"pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"} {
		dir := tree(t, map[string]string{ConfigName: "{}", name: "\x80\x02}q"})
		if _, err := Open(dir); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "pickle") || !strings.Contains(err.Error(), "save_pretrained") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No index makes Open panic, and every refusal is typed.
func FuzzIndex(f *testing.F) {
	dir, index := shards(f)
	text, err := os.ReadFile(filepath.Join(dir, IndexName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"weight_map":{"a":"/etc/passwd"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, IndexName), data, 0o666); err != nil {
			t.Fatal(err)
		}
		w, names, err := readWeights(dir)
		var fe *FormatError
		if err != nil && !errors.As(err, &fe) {
			t.Fatalf("untyped error %v", err)
		}
		if err != nil {
			return
		}
		for _, x := range w.Tensors {
			if _, ok := index[x.Name]; !ok || !w.Has(x.Name) || len(names) > 2 {
				t.Fatalf("%s of %v", x.Name, names)
			}
		}
	})
}
