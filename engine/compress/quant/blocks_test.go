package quant

import (
	"os"
	"path/filepath"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/student"
)

// pruned sets a share of the 4×8 blocks of the matrices inside the layers to zero.
func pruned(c arch.Config, tensors map[string][]float32, of, zero int) {
	for _, m := range c.Modules() {
		if !m.IsMatrix() || m.Part.Table() {
			continue
		}
		w := tensors[m.Weight().Name]
		for i := range w {
			if (i/m.Cols/4*7+i%m.Cols/8)%of < zero {
				w[i] = 0
			}
		}
	}
}

// A student that is stored in blocks has the bits of the same weights stored whole, in every file size of the formula, and
// decodes in blocks too; the zeros of the float model are zeros of the student.
func TestBlocksOnDisk(t *testing.T) {
	for name, c := range configs() {
		for _, zero := range []int{0, 2, 3} {
			tensors := randomTensors(t, c, 2)
			pruned(c, tensors, 4, zero)
			w, r, err := Quantize(t.Context(), c, tensors, Options{Blocks: true, Pruning: []byte(`[{"kind":"block4x8"}]`)})
			if err != nil {
				t.Fatal(err)
			}
			_ = w.Visit(func(module string, m *student.Matrix, _ *[]float32) error {
				if m == nil {
					return nil
				}
				for i, v := range tensors[module+".weight"] {
					if v == 0 && m.Q[i] != 0 {
						t.Fatalf("%s: %s: element %d was zero and is %d", name, module, i, m.Q[i])
					}
				}
				return nil
			})
			dir := t.TempDir()
			whole, blocks := filepath.Join(dir, "whole"), filepath.Join(dir, "blocks")
			if err := Save(whole, w, nil); err != nil {
				t.Fatal(err)
			}
			if err := Save(blocks, w, r); err != nil {
				t.Fatal(err)
			}
			a, err := Load(whole)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Load(blocks)
			if err != nil {
				t.Fatal(err)
			}
			want := digest(t, a)
			if got := digest(t, b); got != want {
				t.Errorf("%s: digest %s from blocks, %s from whole matrices", name, got, want)
			}
			m, err := student.New(b, student.Options{Blocks: student.BlocksAlways})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := student.Digest(m, student.DigestOptions{Prefill: 16}); err != nil || got != want {
				t.Errorf("%s: digest %s of sparse kernels, %v, want %s", name, got, err, want)
			}
			info, err := os.Stat(filepath.Join(blocks, checkpoint.WeightsName))
			if err != nil {
				t.Fatal(err)
			}
			stored := int64(StoredBytes(w, r))
			header, formula := float64(info.Size()-stored), float64(int64(FileSize(w, r))-stored)
			if header < 0.85*formula || header > 1.15*formula {
				t.Errorf("%s: a header of %v bytes on disk, the formula says %v", name, header, formula)
			}
			folder, err := checkpoint.Open(blocks)
			if err != nil {
				t.Fatal(err)
			}
			if got := folder.Weights.Bytes(); got != stored {
				t.Errorf("%s: %d bytes of tensors, the formula says %d", name, got, stored)
			}
			q, err := folder.Quantization()
			if err != nil {
				t.Fatal(err)
			}
			if name != "edge" {
				continue // small matrices need not be smaller in blocks
			}
			if q.InBlocks() != (zero > 0) {
				t.Errorf("%d of 4 blocks are zero, stored in blocks: %v", zero, q.InBlocks())
			}
			if zero > 0 && (StoredBytes(w, r) >= w.Bytes() || Sparsity(w) < float64(zero)/4-0.05 || q.Sparsity.GlobalSparsity < float64(zero)/4-0.05) {
				t.Errorf("%d of %d bytes are stored at a sparsity of %v (%v)", StoredBytes(w, r), w.Bytes(), Sparsity(w), q.Sparsity.GlobalSparsity)
			}
		}
	}
}

// The weights of half and of a quarter of the blocks take what was promised, index and all.
func TestBlockRatio(t *testing.T) {
	for _, k := range []int{96, 128, 384, 512} {
		all := k * k
		for _, c := range []struct {
			live int // of four blocks
			most float64
		}{{2, 0.56}, {1, 0.30}} {
			if got := float64(checkpoint.BlockBytes(k, k, all/32*c.live/4)) / float64(all); got > c.most {
				t.Errorf("%d of 4 blocks of %d×%d take %.3f of its bytes, want at most %v", c.live, k, k, got, c.most)
			}
		}
	}
}

// A small file that stands for a huge model is refused before memory is asked for.
func TestExpansionIsBounded(t *testing.T) {
	c := config0()
	tensors := randomTensors(t, c, 2)
	pruned(c, tensors, 4, 3)
	w, r, err := Quantize(t.Context(), c, tensors, Options{Blocks: true})
	if err != nil {
		t.Fatal(err)
	}
	contents, err := Contents(w, r)
	if err != nil {
		t.Fatal(err)
	}
	x := contents.Config.(config)
	x.HiddenSize, x.IntermediateSize = 1<<16, 1<<16
	contents.Config = x
	dir := filepath.Join(t.TempDir(), "s")
	if err := checkpoint.Save(dir, contents); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("it was read")
	}
}
