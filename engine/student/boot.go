package student

import "hash/fnv"

// The size of the self-test: SPEC.md, section 6.
const (
	bootRows        = 24
	bootActivations = 64
	bootPositions   = 20
	bootLogits      = 64
	bootWeights     = 1 << 17
)

// Boot is what a device compares when it starts: a short part of the digest, which its compiler and its processor have to get right.
type Boot struct {
	Layers int    // that the token passes
	Hash   uint32 // FNV-1a of the functions over a few positions, with the rows that they quantise, and of the token's logits
}

// ProveBoot computes what the self-test of a device must find. Errors: as of New and Prove.
func ProveBoot(w *Weights) (Boot, error) {
	m, err := New(w, Options{})
	if err != nil {
		return Boot{}, err
	}
	defer m.Close()
	h := fnv.New32a()
	if err := m.hashFunctions(h, true); err != nil {
		return Boot{}, err
	}
	short := w.firstLayers(bootWeights)
	first, err := New(short, Options{})
	if err != nil {
		return Boot{}, err
	}
	defer first.Close()
	s, err := first.NewSession(1)
	if err != nil {
		return Boot{}, err
	}
	logits, err := s.Step([]int32{0})
	if err != nil {
		return Boot{}, err
	}
	if err := putLogits(h, logits[0][:min(bootLogits, len(logits[0]))]); err != nil {
		return Boot{}, err
	}
	return Boot{Layers: len(short.Layers), Hash: h.Sum32()}, nil
}

// firstLayers are the weights with as many of the layers as multiply by so many weights in all, and one at least.
func (w *Weights) firstLayers(most int) *Weights {
	short := *w
	total, n := 0, 0
	for i := range w.Layers {
		l := &w.Layers[i]
		for _, m := range []*Matrix{&l.Query, &l.Key, &l.Value, &l.Output, &l.Gate, &l.Up, &l.Down, &l.PLE.Gate, &l.PLE.Out} {
			total += len(m.Q)
		}
		if n > 0 && total > most {
			break
		}
		n++
	}
	short.Layers, short.Config.Layers = w.Layers[:n], n
	if shapes := w.Config.LayerShapes; shapes != nil {
		short.Config = w.Config.Clone()
		short.Config.SetLayers(shapes[:n])
	}
	return &short
}
