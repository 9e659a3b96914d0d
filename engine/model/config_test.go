package model

import (
	"math"
	"testing"

	"mito/engine/arch"
)

func TestEdge(t *testing.T) {
	c := arch.Edge(65, 128, 4, 96, 6, 2)
	check(t, c.Validate())
	m, err := New(openCPU(t, 1), c, false)
	check(t, err)
	defer m.Close()
	// Tied embedding, four matrices of attention with a third of the key/value heads, two of the MLP, nine gains.
	want := 65*96 + 4*(96*96*2+96*32*2+2*96*384) + 9*96
	if got := m.Params.Count(); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}

// Every parameter has a stream of its own: the same in a model with other parts, another in another seed.
func TestInitialize(t *testing.T) {
	b := openCPU(t, 1)
	draw := func(change func(*arch.Config), seed uint64, init Init) *Weights {
		c := small()
		change(&c)
		m, err := New(b, c, false)
		check(t, err)
		defer m.Close()
		check(t, m.Initialize(seed, init))
		w, err := m.Host()
		check(t, err)
		return w
	}
	const name = "model.layers.1.self_attn.k_proj.weight"
	a := draw(func(*arch.Config) {}, 1, DefaultInit()).Tensors
	bias := draw(func(c *arch.Config) { c.AttentionBias, c.QKNorm = true, true }, 1, DefaultInit()).Tensors
	other := draw(func(*arch.Config) {}, 2, DefaultInit()).Tensors
	if a[name][3] != bias[name][3] {
		t.Error("a parameter depends on which others there are")
	}
	if a[name][3] == other[name][3] || a[name][3] == a["model.layers.0.self_attn.k_proj.weight"][3] {
		t.Error("two streams are the same")
	}
	for _, v := range bias["model.layers.0.self_attn.q_norm.weight"] {
		if v != 1 {
			t.Error("a gain does not start at one")
		}
	}
	for _, v := range bias["model.layers.0.self_attn.q_proj.bias"] {
		if v != 0 {
			t.Error("a bias does not start at zero")
		}
	}
	zero := draw(func(*arch.Config) {}, 1, Init{Std: 0.02, FanIn: 0.57, ResidualZero: true}).Tensors
	if sum(zero["model.layers.0.self_attn.o_proj.weight"]) != 0 || sum(zero["model.layers.1.mlp.down_proj.weight"]) != 0 {
		t.Error("what writes into the residual stream does not start at zero")
	}
	// 140 draws: the standard deviation is known to 1/√280.
	up := zero["model.layers.0.mlp.up_proj.weight"]
	std := 0.0
	for _, v := range up {
		std += float64(v) * float64(v)
	}
	if got, want := math.Sqrt(std/float64(len(up))), 0.57/math.Sqrt(10); math.Abs(got-want) > 4*want/math.Sqrt(280) {
		t.Errorf("standard deviation %v, want %v", got, want)
	}
}

// What writes into the residual stream starts smaller, by the square root of the number of branches that do.
func TestInitializeResidual(t *testing.T) {
	c := arch.Edge(8, 8, 8, 32, 4, 4)
	m, err := New(openCPU(t, 1), c, false)
	check(t, err)
	defer m.Close()
	check(t, m.Initialize(1, DefaultInit()))
	w, err := m.Host()
	check(t, err)
	std := func(name string) float64 {
		s := 0.0
		for _, v := range w.Tensors[name] {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s / float64(len(w.Tensors[name])))
	}
	for name, want := range map[string]float64{
		"model.layers.0.mlp.up_proj.weight": 0.02, "model.layers.0.mlp.down_proj.weight": 0.02 / 4, "model.layers.7.self_attn.o_proj.weight": 0.02 / 4,
		"model.layers.7.self_attn.q_proj.weight": 0.02,
	} {
		// The standard deviation of n draws is known to 1/√2n.
		if got, n := std(name), float64(len(w.Tensors[name])); math.Abs(got-want) > 4*want/math.Sqrt(2*n) {
			t.Errorf("%s: standard deviation %v, want %v", name, got, want)
		}
	}
}
