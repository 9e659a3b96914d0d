package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
)

// Init says how fresh parameters are drawn.
type Init struct {
	Std          float64 `json:"std"`           // standard deviation of tables, and of matrices where FanIn is 0
	FanIn        float64 `json:"fan_in"`        // matrices get std FanIn/√(inputs) where it is positive
	ResidualZero bool    `json:"residual_zero"` // matrices that write into the residual stream start at zero
}

// DefaultInit is GPT-2's: std 0.02, and 0.02/√(2·layers) for what writes into the residual stream.
func DefaultInit() Init { return Init{Std: 0.02} }

// Initialize draws the parameters. Each parameter has a stream of its own, seeded by seed and its name, so that
// what one holds does not depend on which others there are.
func (m *Model) Initialize(seed uint64, init Init) error {
	return m.set(slices.Concat(m.Params.List, m.Params.Added), func(p *Param) ([]float32, error) {
		return draw(p, seed, init, m.Config.Layers), nil
	})
}

// InitializeAdded draws the parameters that products declared beside the model's own.
func (m *Model) InitializeAdded(seed uint64, init Init) error {
	return m.set(m.Params.Added, func(p *Param) ([]float32, error) { return draw(p, seed, init, m.Config.Layers), nil })
}

// set gives parameters their values, as tensors or as what a product holds instead.
func (m *Model) set(params []*Param, values func(*Param) ([]float32, error)) error {
	for _, p := range params {
		v, err := values(p)
		if err != nil {
			return err
		}
		if p.held {
			err = m.holders[p].Hold(m.b, v)
		} else {
			err = m.b.Upload(p.Value, v)
		}
		if err != nil {
			return fmt.Errorf("model: %s: %w", p.Name, err)
		}
	}
	return nil
}

func draw(p *Param, seed uint64, init Init, layers int) []float32 {
	w := make([]float32, p.Size())
	if p.gain {
		for i := range w {
			w[i] = 1
		}
		return w
	}
	if p.zero || p.residual && init.ResidualZero {
		return w
	}
	std := init.Std
	if p.Kind == Matrix && init.FanIn > 0 {
		std = init.FanIn / math.Sqrt(float64(p.Shape[1]))
	}
	if p.residual {
		std /= math.Sqrt(2 * float64(layers))
	}
	h := fnv.New64a()
	h.Write([]byte(p.Name))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range w {
		w[i] = float32(rng.NormFloat64() * std)
	}
	return w
}
