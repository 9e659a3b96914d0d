package quant

import (
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/student"
)

// maxExpansion is how many times as many weights as bytes a file may stand for, so that a small file cannot ask for much
// memory. Students of more zeros than that are stored whole.
const maxExpansion = 64

// headerBytes is about what a tensor takes in the header of a file, beside its name.
const headerBytes = 70

// blocksOf lists the matrices that are stored in blocks: those inside the layers that take less so.
func blocksOf(w *student.Weights, r *Report) []string {
	if r == nil || !r.Blocks {
		return nil
	}
	inside := map[string]bool{}
	for _, m := range w.Config.Modules() {
		inside[m.Name] = !m.Part.Table()
	}
	var names []string
	size := w.Bytes()
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil || !inside[name] {
			return nil
		}
		n := checkpoint.BlockBytes(m.Rows, m.Cols, checkpoint.CountBlocks(m.Rows, m.Cols, m.Q))
		if n+headerBytes+len(name) < len(m.Q) {
			names = append(names, name)
			size += n - len(m.Q)
		}
		return nil
	})
	if w.Config.Params() > int64(maxExpansion*size) {
		return nil
	}
	return names
}

// sparsityOf is the share of zeros in some matrices.
func sparsityOf(w *student.Weights, names []string) float64 {
	in := map[string]bool{}
	for _, name := range names {
		in[name] = true
	}
	zeros, all := 0, 0
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil && in[name] {
			all += len(m.Q)
			for _, q := range m.Q {
				if q == 0 {
					zeros++
				}
			}
		}
		return nil
	})
	return float64(zeros) / float64(max(1, all))
}

// Sparsity is the share of zeros in the matrices inside the layers.
func Sparsity(w *student.Weights) float64 {
	var names []string
	for _, m := range w.Config.Modules() {
		if m.IsMatrix() && !m.Part.Table() && m.Part != arch.AuxHead {
			names = append(names, m.Name)
		}
	}
	return sparsityOf(w, names)
}

// StoredBytes is the size of the tensors of a student's file: of weights, in blocks those that are stored with their index, and
// of scales, gains and biases. report may be nil.
func StoredBytes(w *student.Weights, report *Report) int {
	n, in := w.Bytes(), map[string]bool{}
	for _, name := range blocksOf(w, report) {
		in[name] = true
	}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil && in[name] {
			n += checkpoint.BlockBytes(m.Rows, m.Cols, checkpoint.CountBlocks(m.Rows, m.Cols, m.Q)) - len(m.Q)
		}
		return nil
	})
	return n
}

// FileSize predicts the size of model.safetensors: StoredBytes and, in the header, about 70 bytes and the name for each
// tensor. report may be nil.
func FileSize(w *student.Weights, report *Report) int {
	const fixed = 8 + 32
	n := fixed + StoredBytes(w, report)
	in := map[string]bool{}
	for _, name := range blocksOf(w, report) {
		in[name] = true
	}
	tensor := func(name string) { n += headerBytes + len(name) }
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		switch {
		case m == nil:
			tensor(name)
			return nil
		case in[name]:
			for _, t := range checkpoint.BlockNames(name) {
				tensor(t)
			}
		default:
			tensor(name + ".weight")
			tensor(name + ".weight_scale")
		}
		if m.Bias != nil {
			tensor(name + ".bias")
		}
		return nil
	})
	return n
}
