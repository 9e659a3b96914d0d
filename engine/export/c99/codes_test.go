package c99

import (
	"context"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
	"mito/engine/student"
)

// inCodes gives matrices weights that are codes: module i has bits[i mod len(bits)], and 0 bits leave it as it is.
func inCodes(w *student.Weights, bits ...int) map[string]Codes {
	r, all, at := rand.New(rand.NewPCG(5, 5)), map[string]Codes{}, 0
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			return nil
		}
		c := Codes{Bits: bits[at%len(bits)]}
		at++
		if c.Bits == 0 {
			return nil
		}
		most := 1<<(c.Bits-1) - 1
		c.Multiples = make([]uint8, m.Rows*c.groups(m.Cols))
		for i := range c.Multiples {
			c.Multiples[i] = uint8(r.IntN(127/most + 1))
		}
		for i := range m.Q {
			m.Q[i] = int8(r.IntN(2*most+1)-most) * int8(c.Multiples[i/m.Cols*c.groups(m.Cols)+i%m.Cols/codeGroup])
		}
		all[name] = c
		return nil
	})
	return all
}

// Matrices in codes of all widths have the digest of their INT8 weights.
func TestCodes(t *testing.T) {
	needCompiler(t)
	wide := tiny(func(c *arch.Config) { c.HiddenSize, c.HeadDim, c.IntermediateSize, c.TieEmbeddings = 64, 16, 96, false })
	for name, x := range map[string]struct {
		c    arch.Config
		bits []int
	}{
		"4 bits": {wide, []int{4}}, "ternary": {wide, []int{2}}, "all": {wide, []int{3, 0, 5, 2, 6, 7, 4}},
		"odd sizes": {configs()["odd"], []int{2, 3, 4, 5, 6, 7}}, "learned positions": {configs()["gpt"], []int{6, 3, 0, 4}},
	} {
		w := random(t, x.c, false)
		codes := inCodes(w, x.bits...)
		want := proof(t, w)
		plain, err := Write(w, nil, Options{Proof: want})
		if err != nil {
			t.Fatal(err)
		}
		files, err := Write(w, nil, Options{Proof: want, Codes: codes})
		if err != nil {
			t.Fatal(err)
		}
		if len(x.bits) == 1 && len(files["model.c"])*3 > len(plain["model.c"])*2 {
			t.Errorf("%s: model.c has %d bytes, %d without codes", name, len(files["model.c"]), len(plain["model.c"]))
		}
		for _, args := range [][]string{{"-Wall", "-Wextra", "-Werror", "-Wno-unused-local-typedefs"}, {"-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover"}} {
			got, err := Run(context.Background(), files, "", "", args...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := got.Agrees(want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	w := random(t, wide, false)
	codes := inCodes(w, 4)
	w.Layers[0].Up.Q[0]++
	if _, err := Write(w, nil, Options{Codes: codes}); err == nil {
		t.Error("a weight that is no code is written")
	}
}
