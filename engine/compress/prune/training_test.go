package prune

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/train"
)

// The blocks with the least weights make room for those with the largest gradient, and nothing else changes.
func TestMoved(t *testing.T) {
	const rows, cols = 8, 40 // ten blocks
	blocks := blocksOf(rows, cols)
	r := rand.New(rand.NewPCG(3, 4))
	mask, w, g := make([]float32, rows*cols), make([]float32, rows*cols), make([]float32, rows*cols)
	order := r.Perm(len(blocks)) // six live, by growing weights, then four dead, by falling gradients
	for i, b := range order {
		for _, at := range blocks[b] {
			if i < 6 {
				mask[at], w[at], g[at] = 1, float32(i+1)*(r.Float32()+1), 1000
			} else {
				w[at], g[at] = 0, float32(20-2*i)*(r.Float32()+1)
			}
		}
	}
	moved(mask, w, g, blocks, 0.34)
	var live []int
	for b, at := range blocks {
		on := mask[at[0]]
		for _, i := range at {
			if mask[i] != on {
				t.Fatalf("block %d is not whole", b)
			}
		}
		if on == 1 {
			live = append(live, b)
		}
	}
	want := slices.Clone(order[2:8])
	slices.Sort(want)
	if !slices.Equal(live, want) {
		t.Errorf("blocks %v live, want %v of %v", live, want, order)
	}
	moved(mask, w, g, blocks, 1) // no more dead blocks than there are
	if n := count(mask); n != 6*blockRows*blockCols {
		t.Errorf("%d elements live, want those of 6 blocks", n)
	}
}

func count(mask []float32) (n int) {
	for _, v := range mask {
		if v != 0 {
			n++
		}
	}
	return n
}

func TestTrainingRefuses(t *testing.T) {
	odd := arch.Edge(13, 16, 2, 24, 4, 2)
	odd.IntermediateSize = 42
	for _, c := range []struct {
		o     Training
		field string
	}{
		{Training{"luck", 0.5, nil}, "sparse method"},
		{Training{GMP, 0, nil}, "sparse"},
		{Training{RigL, 1, nil}, "sparse"},
		{Training{GMP, -0.5, nil}, "sparse"},
		{Training{GMP, 0.5, []string{"["}}, "modules"},
	} {
		var option *train.OptionError
		if err := c.o.Validate(); !errors.As(err, &option) || option.Field != c.field {
			t.Errorf("%+v: %v, want one about %s", c.o, err, c.field)
		}
	}
	var option *train.OptionError
	if _, err := (Training{RigL, 0.5, nil}).Targets(odd); !errors.As(err, &option) {
		t.Errorf("42 rows are not divided by blocks: %v", err)
	}
	if _, err := (Training{RigL, 0.5, []string{"conv.*"}}).Targets(odd); !errors.As(err, &option) {
		t.Errorf("a pattern that matches nothing: %v", err)
	}
}
