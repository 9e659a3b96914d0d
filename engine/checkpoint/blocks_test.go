package checkpoint

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// blockMatrix draws a matrix of which a share of the 4×8 blocks is zero.
func blockMatrix(rows, cols int, zero float64) (w []int8, scales []float32) {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	w, scales = make([]int8, rows*cols), make([]float32, rows)
	dead := map[[2]int]bool{}
	for i := range w {
		at := [2]int{i / cols / 4, i % cols / 8}
		if _, known := dead[at]; !known {
			dead[at] = r.Float64() < zero
		}
		if !dead[at] {
			w[i] = int8(r.IntN(255) - 127)
		}
	}
	for i := range scales {
		scales[i] = r.Float32()
	}
	return w, scales
}

func decoded(t *testing.T, list []Tensor) *File {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, list, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every size comes back, tails and empty matrices too, in the bytes of the formula.
func TestBlocks(t *testing.T) {
	for _, s := range [][2]int{{1, 1}, {4, 8}, {5, 9}, {3, 7}, {32, 96}, {33, 172}, {8, 2040}, {9, 2041}} {
		for _, zero := range []float64{0, 0.5, 0.75, 1} {
			w, scales := blockMatrix(s[0], s[1], zero)
			list, err := BlockTensors("m", s[0], s[1], w, scales)
			if err != nil {
				t.Fatal(err)
			}
			f := decoded(t, list)
			got, gotScales, err := f.Blocks("m", s[0], s[1])
			if err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			if !slices.Equal(got, w) || !slices.Equal(gotScales, scales) {
				t.Errorf("%v with %v zeros came back different", s, zero)
			}
			if got, want := f.Bytes(), int64(BlockBytes(s[0], s[1], CountBlocks(s[0], s[1], w))+4*s[0]); got != want {
				t.Errorf("%v: %d bytes, the formula says %d", s, got, want)
			}
			if err := f.Expect(BlockNames("m")...); err != nil {
				t.Error(err)
			}
		}
	}
	// A block costs 33 bytes and each row of blocks one.
	if got, want := BlockBytes(96, 384, 300), 300*33+24; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

func TestBlocksRefused(t *testing.T) {
	const rows, cols = 6, 20 // 2 by 3 blocks
	w, scales := blockMatrix(rows, cols, 0)
	for name, c := range map[string]struct {
		want   error
		change func(blocks, index, scale *Tensor)
	}{
		"too many in a row": {ErrRange, func(_, x, _ *Tensor) { x.Data[0] = 4 }},
		"more than there are": {ErrRange, func(b, x, _ *Tensor) {
			x.Data, x.Shape, b.Data, b.Shape = x.Data[:7], []int{7}, b.Data[:5*32], []int{5, 4, 8}
		}},
		"fewer than there are": {ErrRange, func(_, x, _ *Tensor) { x.Data[1] = 2 }},
		"a column twice":       {ErrRange, func(_, x, _ *Tensor) { x.Data[3] = x.Data[2] }},
		"descending":           {ErrRange, func(_, x, _ *Tensor) { x.Data[2], x.Data[3] = 1, 0 }},
		"a column outside":     {ErrRange, func(_, x, _ *Tensor) { x.Data[4] = 3 }},
		"a weight below":       {ErrRange, func(b, _, _ *Tensor) { b.Data[3*32+31] = 1 }},
		"a weight beside":      {ErrRange, func(b, _, _ *Tensor) { b.Data[2*32+7] = 1 }},
		"-128":                 {ErrRange, func(b, _, _ *Tensor) { b.Data[0] = 0x80 }},
		"no index":             {ErrMissing, func(_, x, _ *Tensor) { x.Name = "other" }},
		"no blocks":            {ErrMissing, func(b, _, _ *Tensor) { b.Name = "other" }},
		"no scale":             {ErrMissing, func(_, _, s *Tensor) { s.Name = "other" }},
		"a wide index": {ErrDType, func(_, x, _ *Tensor) {
			*x = FromI32(x.Name, x.Shape, make([]int32, x.Shape[0]))
		}},
		"a short index": {ErrShape, func(_, x, _ *Tensor) { x.Data, x.Shape = x.Data[:1], []int{1} }},
		"a scale":       {ErrRange, func(_, _, s *Tensor) { *s = FromF32(s.Name, s.Shape, []float32{1, -1, 1, 1, 1, 1}) }},
		"not finite":    {ErrNotFinite, func(_, _, s *Tensor) { *s = FromF32(s.Name, s.Shape, []float32{1, float32(math.Inf(1)), 1, 1, 1, 1}) }},
		"shape of blocks": {ErrShape, func(b, _, _ *Tensor) {
			b.Shape = []int{b.Shape[0], 8, 4}
		}},
	} {
		list, err := BlockTensors("m", rows, cols, w, scales)
		if err != nil {
			t.Fatal(err)
		}
		c.change(&list[0], &list[1], &list[2])
		if _, _, err := decoded(t, list).Blocks("m", rows, cols); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := BlockTensors("m", rows, cols, w[1:], scales); !errors.Is(err, ErrShape) {
		t.Errorf("too few weights: %v", err)
	}
}

// FuzzBlocks: whatever index and blocks a file holds, reading it panics not and gives what writes the same file.
func FuzzBlocks(f *testing.F) {
	for _, zero := range []float64{0, 0.5, 1} {
		w, scales := blockMatrix(6, 20, zero)
		list, err := BlockTensors("m", 6, 20, w, scales)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(list[0].Data, list[1].Data)
	}
	_, scales := blockMatrix(6, 20, 0)
	f.Fuzz(func(t *testing.T, blocks, index []byte) {
		n := len(blocks) / 32
		file := decoded(t, []Tensor{
			{Name: "m.weight_blocks", DType: I8, Shape: []int{n, 4, 8}, Data: blocks[:n*32]},
			FromU8("m.weight_index", []int{len(index)}, index), FromF32("m.weight_scale", []int{6, 1}, scales),
		})
		w, _, err := file.Blocks("m", 6, 20)
		if err != nil {
			return
		}
		list, err := BlockTensors("m", 6, 20, w, scales)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := decoded(t, list).Blocks("m", 6, 20); err != nil || !slices.Equal(again, w) {
			t.Fatalf("%v came back as %v, %v", w, again, err)
		}
	})
}

// What other programs say of matrices that are stored whole is taken, another layout is not.
func TestSparsityConfig(t *testing.T) {
	for format, good := range map[string]bool{"": true, "dense": true, blockFormat: true, "sparse-24-bitmask": false} {
		q := NewInt8()
		q.Sparsity = NewBlocks(0.5, []string{"m"})
		q.Sparsity.Format = format
		if err := q.CheckInt8(); (err == nil) != good || q.InBlocks() != (format == blockFormat) {
			t.Errorf("%q: %v, in blocks %v", format, err, q.InBlocks())
		}
	}
	q := NewInt8()
	q.Sparsity = NewBlocks(0.5, []string{"m"})
	q.Sparsity.Structure = "2:4"
	if err := q.CheckInt8(); !errors.Is(err, ErrRange) {
		t.Errorf("another structure: %v", err)
	}
}
