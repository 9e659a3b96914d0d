package quant

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/student"
)

// FuzzRead: no config.json and no weights make the reader panic or ask for more memory than they are large, and what it
// accepts runs.
func FuzzRead(f *testing.F) {
	for name, c := range configs() {
		if name == "edge" {
			continue // its weights are too many to vary
		}
		c.HiddenSize, c.IntermediateSize, c.HeadDim, c.VocabSize, c.Context = 4, 3, 2, 5, 6
		tensors := randomTensors(f, c, 1)
		pruned(c, tensors, 4, 2)
		w, _, err := Quantize(f.Context(), c, tensors, Options{})
		if err != nil {
			f.Fatal(err)
		}
		contents, err := Contents(w, nil)
		if err != nil {
			f.Fatal(err)
		}
		if name == "full" { // in blocks, which such small matrices would not be
			inBlocks(f, contents, w)
		}
		text, err := json.Marshal(contents.Config)
		if err != nil {
			f.Fatal(err)
		}
		if text, err = contents.Quantization.AddTo(text); err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if err := checkpoint.Encode(&b, contents.Tensors, nil); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text), b.Bytes())
	}
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		file, err := checkpoint.Decode(weights)
		if err != nil {
			return
		}
		w, err := Read(&checkpoint.Folder{Config: config, Weights: file})
		if err != nil {
			return
		}
		if w.Bytes() > maxExpansion*len(weights) {
			t.Fatalf("%d bytes of weights from a file of %d", w.Bytes(), len(weights))
		}
		c := w.Config
		if c.Context*c.KVHeads*c.HeadDim*c.Layers > 1<<20 {
			return // runs, but not quickly
		}
		m, err := student.New(w, student.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.NewSession(1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range min(c.Context, 3) {
			if _, err := s.Step([]int32{int32(i % c.VocabSize)}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// inBlocks stores all matrices inside the layers in blocks.
func inBlocks(f *testing.F, c *checkpoint.Contents, w *student.Weights) {
	var names []string
	for _, m := range w.Config.Modules() {
		if m.IsMatrix() && !m.Part.Table() {
			names = append(names, m.Name)
		}
	}
	c.Quantization.Sparsity = checkpoint.NewBlocks(0.5, names)
	err := w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil || !slices.Contains(names, name) {
			return nil
		}
		ts, err := checkpoint.BlockTensors(name, m.Rows, m.Cols, m.Q, m.Scale)
		c.Tensors = slices.DeleteFunc(c.Tensors, func(t checkpoint.Tensor) bool {
			return t.Name == name+".weight" || t.Name == name+".weight_scale"
		})
		c.Tensors = append(c.Tensors, ts...)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
}
