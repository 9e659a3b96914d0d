package quant

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/student"
)

func digest(t testing.TB, w *student.Weights) string {
	t.Helper()
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := student.Digest(m, student.DigestOptions{Prefill: 16})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSaveLoadDigest(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			seen := &Samples{}
			seen.Add([]int32{1, 2})
			w, r, err := Quantize(t.Context(), c, randomTensors(t, c, 2), Options{Calibration: &Calibration{Samples: seen}})
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "student")
			if err := Save(dir, w, r); err != nil {
				t.Fatal(err)
			}
			back, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := digest(t, w)
			if got := digest(t, back); got != want {
				t.Errorf("digest %s after loading, %s before", got, want)
			}
			info, err := os.Stat(filepath.Join(dir, checkpoint.WeightsName))
			if err != nil {
				t.Fatal(err)
			}
			if size, f := float64(info.Size()), float64(FileSize(w, nil)); size > 1.03*f || size < 0.97*f {
				t.Errorf("%v bytes on disk, the formula says %v", size, f)
			}
			text, err := os.ReadFile(filepath.Join(dir, checkpoint.ConfigName))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte(seen.Hash())) {
				t.Error("the calibration's hash is not on disk")
			}
			checkNoFloatCopy(t, dir, w)
			// A new process has neither caches nor variables of this one.
			cmd := exec.Command(os.Args[0], "-test.run=^TestDigestOfFolder$", "-test.v")
			cmd.Env = append(os.Environ(), "MITO_TEST_STUDENT="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("digest "+want)) {
				t.Errorf("a new process: %v, %s", err, out)
			}
		})
	}
}

// TestDigestOfFolder is the other process of TestSaveLoadDigest.
func TestDigestOfFolder(t *testing.T) {
	dir := os.Getenv("MITO_TEST_STUDENT")
	if dir == "" {
		t.Skip("no folder given: TestSaveLoadDigest runs this test in a process of its own")
	}
	w, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("digest " + digest(t, w))
}

// checkNoFloatCopy makes sure that every matrix is INT8 in the file and nothing else as large is there.
func checkNoFloatCopy(t *testing.T, dir string, w *student.Weights) {
	t.Helper()
	f, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Weights.Bytes(); got != int64(w.Bytes()) {
		t.Errorf("%d bytes of tensors, want %d", got, w.Bytes())
	}
	err = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			return nil
		}
		_, err := f.Weights.Get(name+".weight", checkpoint.I8, m.Rows, m.Cols)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	c := config0()
	w, _, err := Quantize(t.Context(), c, randomTensors(t, c, 2), Options{})
	if err != nil {
		t.Fatal(err)
	}
	save := func(change func(c *checkpoint.Contents)) string {
		t.Helper()
		contents, err := Contents(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(contents)
		dir := filepath.Join(t.TempDir(), "s")
		if err := checkpoint.Save(dir, contents); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	tensor := func(c *checkpoint.Contents, name string) *checkpoint.Tensor {
		t.Helper()
		for i := range c.Tensors {
			if c.Tensors[i].Name == name {
				return &c.Tensors[i]
			}
		}
		t.Fatalf("no tensor %s", name)
		return nil
	}
	const up = "model.layers.0.mlp.up_proj.weight"
	for name, tc := range map[string]struct {
		dir  string
		want error // nil: any error
	}{
		"float weights": {save(func(c *checkpoint.Contents) { c.Quantization = nil }), ErrNotQuantized},
		"missing":       {save(func(c *checkpoint.Contents) { c.Tensors = c.Tensors[1:] }), checkpoint.ErrMissing},
		"unexpected": {save(func(c *checkpoint.Contents) {
			c.Tensors = append(c.Tensors, checkpoint.FromF32("lm_head.weight", []int{1}, []float32{1}))
		}), checkpoint.ErrUnexpected},
		"-128":  {save(func(c *checkpoint.Contents) { tensor(c, up).Data[7] = 0x80 }), checkpoint.ErrRange},
		"dtype": {save(func(c *checkpoint.Contents) { tensor(c, up).DType = checkpoint.U8 }), checkpoint.ErrDType},
		"one dimension": {save(func(c *checkpoint.Contents) {
			x := tensor(c, up)
			x.Shape = []int{x.Shape[0] * x.Shape[1]}
		}), checkpoint.ErrShape},
		"transposed": {save(func(c *checkpoint.Contents) {
			x, s := tensor(c, up), tensor(c, up+"_scale")
			x.Shape = []int{x.Shape[1], x.Shape[0]}
			s.Shape, s.Data = []int{96, 1}, s.Data[:4*96]
		}), nil},
		"other scheme": {save(func(c *checkpoint.Contents) { c.Quantization.ConfigGroups["group_0"].Weights.NumBits = 4 }), checkpoint.ErrRange},
		"other config": {save(func(c *checkpoint.Contents) {
			x := c.Config.(config)
			x.KVHeads = 3
			c.Config = x
		}), nil},
		"other arithmetic": {save(func(c *checkpoint.Contents) {
			x := c.Config.(config)
			x.SpecVersion = 1
			c.Config = x
		}), nil},
		"no version": {save(func(c *checkpoint.Contents) { c.Config = c.Config.(config).Config }), nil},
		"no folder":  {filepath.Join(t.TempDir(), "none"), os.ErrNotExist},
	} {
		got, err := Load(tc.dir)
		if got != nil || err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
