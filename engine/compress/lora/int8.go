package lora

import (
	"mito/engine/model"
	"mito/engine/student"
	"mito/kernels/vec"
)

// Expand turns the INT8 weights of a student into float32: scale·q, rounded once, so that an adapter can be trained beside them.
// Training quantises no activations.
func Expand(w *student.Weights) *model.Weights {
	out := &model.Weights{Config: w.Config.Clone(), Tensors: map[string][]float32{}}
	_ = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			out.Tensors[name] = *v
			return nil
		}
		x := make([]float32, len(m.Q))
		for r := range m.Rows {
			vec.DequantizeRow(x[r*m.Cols:][:m.Cols], m.Q[r*m.Cols:][:m.Cols], m.Scale[r])
		}
		out.Tensors[name+".weight"] = x
		if m.Bias != nil {
			out.Tensors[name+".bias"] = m.Bias
		}
		return nil
	})
	return out
}
