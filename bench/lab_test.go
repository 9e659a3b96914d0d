package bench

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The experiments run on any text, in few steps here, and say what holds whatever was learnt: sizes, bits and what is equal.
func TestLab(t *testing.T) {
	if testing.Short() {
		t.Skip("models are trained")
	}
	path := filepath.Join(t.TempDir(), "corpus.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 60)), 0o666); err != nil {
		t.Fatal(err)
	}
	m := &meter{ctx: t.Context(), o: Options{Rounds: 1, Threads: 2, Corpus: path, AdaptTo: path, Steps: 8}}
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, plan := range []func(*meter) error{labQuantisation, labLora, labTokens, labConvert, labAccumulation, labSparse, labCombination, labDistillation} {
		if err := plan(m); err != nil {
			t.Fatal(err)
		}
	}
	rows := map[string]Result{}
	for _, row := range m.rows {
		r := row()
		if _, again := rows[r.Name]; again || r.Unit == "" || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.Value < 0 {
			t.Errorf("row %+v", r)
		}
		rows[r.Name] = r
	}
	names := map[string]bool{}
	for name := range rows {
		names[name] = true
	}
	checkTable(t, names, "lora/", "sparse/", "tokens/", "distillation/", "combination/", "quantisation/weights", "accumulation/batch")
	for name, ok := range map[string]func(float64) bool{
		"lora/two adapters and none mixed in a batch of 8, share with the bits of each alone":   func(v float64) bool { return v == 1 },
		"lora/merged into the weights, largest difference of a logit against the largest logit": func(v float64) bool { return v > 0 && v < 1e-5 },
		"quantisation/weights of 8 bits, loss rounded against the base":                         func(v float64) bool { return v > 0.99 && v < 1.01 },
		"quantisation/weights of 8 bits, bytes on disk against INT8":                            func(v float64) bool { return v == 1 },
		"quantisation/weights of 4 bits, bytes on disk against INT8":                            func(v float64) bool { return v < 0.6 },
		"lora/adapter switched": func(v float64) bool { return v < 1 },
		"lora/corpus to adapt-to, rank 4 of every layer, share of the parameters that is trained":         func(v float64) bool { return v > 0.01 && v < 0.1 },
		"convert/4 heads of keys and values to 1, bytes of the cache against the base's":                  func(v float64) bool { return v == 0.25 },
		"combination/INT8, loss against the plain student":                                                func(v float64) bool { return v > 0.98 && v < 1.02 },
		"combination/INT8, bytes of the plain student against its":                                        func(v float64) bool { return v > 3.5 && v < 4 },
		"combination/4 bits, a teacher and 75% zero 4x8 blocks, bytes of the plain student against its":   func(v float64) bool { return v > 10 },
		"convert/window of 16, bytes of the cache against the base's":                                     func(v float64) bool { return v == 0.25 },
		"accumulation/batch of 32 rows in 1 micro-batches, beta2 as it is (0.9900), loss at equal tokens": func(v float64) bool { return v < 10 },
	} {
		r, found := rows[name]
		if !found || !ok(r.Value) {
			t.Errorf("%s: %v, there: %v", name, r.Value, found)
		}
	}
}
