package lora

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"

	"mito/engine/arch"
)

// Align gives A of a module its start where that is what the loss asks for: the right singular vectors of the r largest singular
// values of the gradient G [out,in] of the whole weight,
//
//	G = U·Σ·Vᵀ,  A = γ/√3·(first r columns of V)ᵀ [r,in]
//
// so that with B = 0 the first gradient of B holds all of G that rank r can (LoRA-GA, arXiv:2407.05000, and LoRA-One,
// arXiv:2502.01235, without their change of the base). The rows have the length that those of [Init] have in the mean, times γ. A goes
// into values under the name of its tensor. Errors: *ConfigError for a rank beyond the width of the module, as [Config.Modules] has;
// a gradient that is not finite.
func (c *Config) Align(values map[string][]float32, m arch.Module, gradient []float64, gamma float64) error {
	for _, g := range gradient {
		if math.IsNaN(g) || math.IsInf(g, 0) {
			return errors.New("lora: the gradient of " + m.Name + " is not finite: the base cannot be adapted from there")
		}
	}
	if err := c.narrow(m); err != nil {
		return err
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(m.Rows, m.Cols, gradient), mat.SVDThin) {
		return errors.New("lora: the gradient of " + m.Name + " has no singular value decomposition; leave out the alignment")
	}
	var v mat.Dense
	svd.VTo(&v)
	a := make([]float32, c.Rank*m.Cols)
	for r := range c.Rank {
		for i := range m.Cols {
			a[r*m.Cols+i] = float32(gamma / math.Sqrt(3) * v.At(i, r))
		}
	}
	values[m.Name+suffixA] = a
	return nil
}
