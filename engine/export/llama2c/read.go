package llama2c

import (
	"encoding/binary"
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/files"
)

// Read takes a model out of the bytes of a .bin of version 0 or 2: its configuration, and its tensors under mito's names as
// F32. Version 0 has nothing to know it by but that its sizes add up to its length. Errors: *shape.Error for another version,
// *files.FormatError, *arch.FieldError.
func Read(data []byte) (arch.Config, []checkpoint.Tensor, error) {
	bad := func(kind error, text string, args ...any) (arch.Config, []checkpoint.Tensor, error) {
		return arch.Config{}, nil, files.Errorf(kind, "", text, args...)
	}
	const ints = 7 * 4
	if len(data) < ints {
		return bad(files.ErrTruncated, "%d bytes hold no model of llama2.c", len(data))
	}
	version, at := 0, 0
	if binary.LittleEndian.Uint32(data) == magic {
		if version = int(int32(binary.LittleEndian.Uint32(data[4:]))); version != version2 {
			return arch.Config{}, nil, shape.Errorf(name, "the file is of version %d; mito reads 0 (float32, for run.c) and 2 (INT8, for runq.c): export it as one of them with llama2.c's export.py", version)
		}
		if len(data) < headerSize {
			return bad(files.ErrTruncated, "the header of %d bytes ends after %d", headerSize, len(data))
		}
		at = 8
	}
	var n [7]int
	for i := range n {
		n[i] = int(int32(binary.LittleEndian.Uint32(data[at+4*i:])))
	}
	at += ints
	c := arch.Config{
		ModelType: arch.ModelType, HiddenSize: n[0], IntermediateSize: n[1], Layers: n[2], Heads: n[3], KVHeads: n[4], VocabSize: n[5], Context: n[6],
		Activation: arch.ActSwiGLU, Norm: arch.NormRMS, NormEps: epsilon, Position: arch.PositionRoPE, RoPETheta: theta, TieEmbeddings: n[5] > 0,
	}
	size := 0
	if version == version2 {
		c.TieEmbeddings = data[at] != 0
		size = int(int32(binary.LittleEndian.Uint32(data[at+1:])))
		at = headerSize
	} else if n[5] < 0 {
		c.VocabSize = -n[5]
	}
	if c.Heads > 0 && c.HiddenSize%c.Heads == 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if err := c.Validate(); err != nil {
		return arch.Config{}, nil, fmt.Errorf("%s: the header says no model (%v); is this a file of llama2.c? %w", name, n, err)
	}
	if version == version2 && (size < 1 || c.HiddenSize%size != 0 || c.IntermediateSize%size != 0) {
		return bad(files.ErrRange, "groups of %d weights do not divide rows of %d and %d", size, c.HiddenSize, c.IntermediateSize)
	}
	if need := bytesOf(&c, version, size, int64(at)); need != int64(len(data)) {
		kind := files.ErrTruncated
		if need < int64(len(data)) {
			kind = files.ErrSyntax
		}
		return bad(kind, "a model of %v needs %d bytes, there are %d; is this a file of llama2.c?", n, need, len(data))
	}
	values := shape.Values{}
	list, cut := parts(&c, version)
	for i, p := range list {
		if version == 0 && i == cut {
			at += tables(&c)
		}
		w := p.module.Weight()
		count := int(w.Size())
		var v []float32
		if version == version2 && p.module.IsMatrix() {
			scales := floats(data[at+count:][:4*(count/size)])
			v = make([]float32, count)
			for k, q := range data[at:][:count] {
				v[k] = float32(int8(q)) * scales[k/size]
			}
			at += count + 4*(count/size)
		} else {
			v = floats(data[at:][:4*count])
			at += 4 * count
		}
		if p.heads > 0 {
			v = shape.Deinterleave(v, p.heads, c.HeadDim)
		}
		values[w.Name] = v
	}
	tensors := shape.Tensors(&c, values)
	for i := range tensors {
		if err := tensors[i].CheckFinite(); err != nil {
			return arch.Config{}, nil, err
		}
	}
	return c, tensors, nil
}

// tables is the number of bytes of the tables of RoPE.
func tables(c *arch.Config) int { return 2 * 4 * c.Context * (c.HeadDim / 2) }

// bytesOf is the length of a file.
func bytesOf(c *arch.Config, version, size int, header int64) int64 {
	n := header
	list, _ := parts(c, version)
	for _, p := range list {
		w := p.module.Weight().Size()
		if version == version2 && p.module.IsMatrix() {
			n += w + 4*(w/int64(size))
		} else {
			n += 4 * w
		}
	}
	if version == 0 {
		n += int64(tables(c))
	}
	return n
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}
