package prune

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/train"
)

// What goes is the least of all matrices together, within the bounds, and as much as was asked for.
func TestAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	units := map[string][]float64{}
	for i, name := range []string{"a", "b", "c"} {
		for range 200 * (i + 1) {
			units[name] = append(units[name], r.ExpFloat64()*math.Pow(3, float64(i)))
		}
	}
	for _, s := range []float64{0.25, 0.5, 0.75} {
		for _, spread := range []float64{0.1, 0.3, 0.9} {
			low, high := max(0, s-spread), min(mostSparse, s+spread)
			got := allocate(units, s, low, high)
			n, all := 0.0, 0.0
			for name, list := range units {
				if got[name] < low || got[name] > high {
					t.Errorf("%v of %s at %v, spread %v", got[name], name, s, spread)
				}
				n, all = n+got[name]*float64(len(list)), all+float64(len(list))
			}
			if math.Abs(n/all-s) > 0.01 {
				t.Errorf("%v of all go, want %v", n/all, s)
			}
			if !(got["a"] >= got["b"] && got["b"] >= got["c"] && got["a"] > got["c"]) {
				t.Errorf("at %v, spread %v: %v, although scores grow from a to c", s, spread, got)
			}
		}
	}
}

// A spread moves sparsity between matrices and keeps that of all; score by score it is a mask of its kind.
func TestSpread(t *testing.T) {
	b := open(t)
	c := configs()["edge"]
	w, cal := weights(c, 3), NewCalibration(tokens(8, 16, 13))
	for i := range w.Tensors["model.layers.0.mlp.up_proj.weight"] { // weights that count for little
		w.Tensors["model.layers.0.mlp.up_proj.weight"][i] *= 0.01
	}
	for _, score := range Scores() {
		o := Options{Kind: Block4x8, Score: score, Sparsity: 0.5, Spread: 0.3}
		_, masks, err := Mask(t.Context(), b, w, nil, cal, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := masks.Sparsity(); math.Abs(got-0.5) > 0.03 {
			t.Errorf("%s: a sparsity of %v", score, got)
		}
		one := Masks{"x": masks["model.layers.0.mlp.up_proj.weight"]}
		if got := one.Sparsity(); got < 0.75 {
			t.Errorf("%s: a sparsity of %v where weights count for little", score, got)
		}
	}
	if _, _, err := Mask(t.Context(), b, w, nil, nil, Options{Kind: Block4x8, Score: Magnitude, Sparsity: 0.5, Spread: 0.3}); !errors.Is(err, ErrNoCalibration) {
		t.Errorf("without data: %v", err)
	}
	var option *train.OptionError
	for _, o := range []Options{
		{Kind: Block4x8, Score: OBC, Sparsity: 0.5, Spread: 1}, {Kind: TwoFour, Score: OBC, Sparsity: 0.5, Spread: 0.1},
		{Kind: Neurons, Score: OBC, Sparsity: 0.5, Spread: 0.1}, {Kind: Block4x8, Score: OBC, Sparsity: 0.5, Spread: -0.1},
	} {
		if err := o.Validate(); !errors.As(err, &option) || option.Field != "spread" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
