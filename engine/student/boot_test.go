package student

import (
	"testing"

	"mito/engine/arch"
)

// The self-test's token passes as many layers as have 2^17 weights together, and one at least; its hash shows a weight of those.
func TestBoot(t *testing.T) {
	uneven := arch.Edge(70, 12, 3, 32, 4, 2)
	uneven.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 1900}, {Heads: 2, KVHeads: 1, IntermediateSize: 16}, {Heads: 4, KVHeads: 4, IntermediateSize: 200}})
	for name, x := range map[string]struct {
		c      arch.Config
		layers int
	}{
		"small": {gameConfig(), 2}, "wide": {arch.Edge(70, 12, 3, 256, 4, 2), 1}, "uneven": {uneven, 2},
	} {
		w := randomWeights(x.c, 1)
		right, err := ProveBoot(w)
		if err != nil {
			t.Fatal(err)
		}
		if right.Layers != x.layers {
			t.Errorf("%s: %d layers, want %d", name, right.Layers, x.layers)
		}
		if again, err := ProveBoot(w); err != nil || again != right {
			t.Errorf("%s: %+v, then %+v (%v)", name, right, again, err)
		}
		seen := func(m *Matrix) bool {
			for i := range m.Q {
				m.Q[i] = -m.Q[i]
			}
			now, err := ProveBoot(w)
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.Q {
				m.Q[i] = -m.Q[i]
			}
			return now.Hash != right.Hash
		}
		for i := range w.Layers {
			if got := seen(&w.Layers[i].Output); got != (i < x.layers) {
				t.Errorf("%s: another layer %d is noticed: %v", name, i, got)
			}
		}
		if len(w.Layers) != x.c.Layers || !w.Config.Equal(x.c) {
			t.Errorf("%s: the weights have changed", name)
		}
	}
}
