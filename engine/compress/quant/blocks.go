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
		if n+headerBytes+len(name) < codeBytes(m, r.bits(name)) {
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

// codeBytes is the size of a matrix without its scales, where it is not in blocks.
func codeBytes(m *student.Matrix, bits int) int {
	if bits == wholeBits {
		return len(m.Q)
	}
	return checkpoint.CodeBytes(m.Rows, m.Cols, bits)
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

// storedMatrix calls f for every matrix with its size on disk, scales and bias included, and the names of its tensors.
func storedMatrix(w *student.Weights, r *Report, f func(name string, bytes int, tensors []string)) {
	blocks := map[string]bool{}
	for _, name := range blocksOf(w, r) {
		blocks[name] = true
	}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			return nil
		}
		bits := r.bits(name)
		n, tensors := codeBytes(m, bits), []string{name + ".weight", name + ".weight_scale"}
		switch {
		case blocks[name]:
			n, tensors = checkpoint.BlockBytes(m.Rows, m.Cols, checkpoint.CountBlocks(m.Rows, m.Cols, m.Q)), checkpoint.BlockNames(name)
		case bits != wholeBits:
			tensors = checkpoint.CodeNames(name)
		}
		if m.Bias != nil {
			tensors = append(tensors, name+".bias")
		}
		f(name, n+4*(len(m.Scale)+len(m.Bias)), tensors)
		return nil
	})
}

// measure says in the report what every matrix takes on disk.
func (r *Report) measure(w *student.Weights) {
	bytes := map[string]int{}
	storedMatrix(w, r, func(name string, n int, _ []string) { bytes[name] = n })
	for i := range r.Matrices {
		r.Matrices[i].Bytes = bytes[r.Matrices[i].Name]
	}
}

// StoredBytes is the size of the tensors of a student's file: of weights, as codes or blocks those that are stored so, and
// of scales, gains and biases. report may be nil.
func StoredBytes(w *student.Weights, report *Report) (n int) {
	storedMatrix(w, report, func(_ string, bytes int, _ []string) { n += bytes })
	_ = w.Visit(func(_ string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			n += 4 * len(*v)
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
	storedMatrix(w, report, func(_ string, _ int, tensors []string) {
		for _, name := range tensors {
			n += headerBytes + len(name)
		}
	})
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			n += headerBytes + len(name)
		}
		return nil
	})
	return n
}
