package student

import (
	"math/rand/v2"
	"testing"

	"mito/kernels/qgemm"
	"mito/kernels/sparse"
)

// The form of a matrix is the faster one here: of almost empty matrices that is blocks, and full ones are not even tried.
func TestBlocksMeasured(t *testing.T) {
	w := randomWeights(configs()["class 460K"], 4)
	if n := newModel(t, w, Options{}).Blocked(); n != 0 {
		t.Errorf("%d full matrices are in blocks", n)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	down := 0
	for i := range w.Layers {
		pruneBlocks(rng, &w.Layers[i].Down, 0.97)
		down++
	}
	m, dense := newModel(t, w, Options{}), newModel(t, w, Options{Blocks: BlocksNever})
	if m.Blocked() != down || dense.Blocked() != 0 {
		t.Errorf("%d matrices are in blocks, want %d; %d where there should be none", m.Blocked(), down, dense.Blocked())
	}
	a, err := Digest(m, DigestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := Digest(dense, DigestOptions{}); err != nil || a != b {
		t.Errorf("%s in blocks, %s dense, %v", a, b, err)
	}
}

// Tables that are only looked up have no blocks.
func TestTablesAreNotPacked(t *testing.T) {
	c := configs()["ple, gpt2"]
	c.TieEmbeddings = false
	w := randomWeights(c, 4)
	clear(w.Embedding.Q)
	clear(w.Positions.Q)
	for i := range w.Layers {
		clear(w.Layers[i].PLE.Table.Q)
	}
	if n := newModel(t, w, Options{Blocks: BlocksAlways}).Blocked(); n != 0 {
		t.Errorf("%d tables are in blocks", n)
	}
}

// What is measured can go either way.
func TestFaster(t *testing.T) {
	small, large := make([]int8, 32*32), make([]int8, 1024*1024)
	for i := range small {
		small[i] = 1
	}
	few, err := sparse.Pack(small, 32, 32)
	if err != nil {
		t.Fatal(err)
	}
	many, err := qgemm.Pack(large, 1024, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if !faster(few, many, false) || faster(many, few, true) {
		t.Error("a product of a thousandth of the work is not the faster one")
	}
}
