package c99

import (
	"encoding/binary"
	"math"

	"mito/engine/arch"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// ImageBase is where the runtime of the browser finds the model in its memory. What is its own lies below.
const ImageBase = 64 << 10

// Image is a student as it lies in the memory of the browser's runtime: the structures of student.h with all their parts, with
// addresses of 4 bytes, and the arrays that they point to. See runtime/student.h and engine/export/web.
type Image struct {
	Bytes []byte // begins at ImageBase
	State int    // bytes of the state
}

// WriteImage makes the image of a student. Errors: as of Write.
func WriteImage(w *student.Weights, tok tokenizer.Tokenizer) (*Image, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	e, err := newEmitter(w, tok, Options{})
	if err != nil {
		return nil, err
	}
	e.layout = newLayout(w, e.parts.Blocks, false, 0) // no rotary tables: they are turned from token to token
	i := &imager{emitter: e, structs: make([]uint32, modelWords+textWords)}
	i.model(i.structs[:modelWords])
	i.tokens(i.structs[modelWords:])
	for at, v := range i.structs {
		binary.LittleEndian.PutUint32(i.b[4*at:], v)
	}
	return &Image{Bytes: i.b, State: e.stateBytes() + 4}, nil // and the digest's peak
}

// The words of the structures in student.h, with all parts.
const (
	matrixWords = 6
	layerWords  = 10*matrixWords + 2 + 2 + 2 + 4
	modelWords  = 3*matrixWords + 2 + 3 + 9 + 1 + 2 + 1
	textWords   = 7
)

// imager appends arrays to an image, and notes where they are.
type imager struct {
	*emitter
	structs []uint32 // at the beginning of the image
	b       []byte
}

// put appends an array at a multiple of 8 and returns its address.
func (i *imager) put(v any) uint32 {
	if len(i.b) == 0 {
		i.b = make([]byte, 4*len(i.structs))
	}
	i.b = append(i.b, make([]byte, pad(len(i.b), 8)-len(i.b))...)
	at := uint32(ImageBase + len(i.b))
	i.b, _ = binary.Append(i.b, binary.LittleEndian, v) // of numbers of fixed size: no error
	return at
}

func (i *imager) floats(v []float32) uint32 {
	if v == nil {
		return 0
	}
	return i.put(v)
}

func (i *imager) matrix(m *student.Matrix, blocks bool) []uint32 {
	var index uint32
	rows := wholeRows(m)
	if blocks {
		var at []uint8
		rows, at = inBlocksOf(m)
		index = i.put(at)
	}
	w := i.put(rows)
	i.put(make([]byte, 16)) // what reads many codes at once may read beyond the last
	return []uint32{w, i.floats(m.Scale), i.floats(m.Bias), index, uint32(m.Rows), uint32(m.Cols)}
}

// activations are numbered as in student.h.
var activations = map[string]uint32{arch.ActReLU: 0, arch.ActReLU2: 1, arch.ActGELU: 2, arch.ActSwiGLU: 3}

func (i *imager) model(to []uint32) {
	w, c := i.w, i.w.Config
	embedding := i.matrix(&w.Embedding, false)
	head, positions := embedding, make([]uint32, matrixWords)
	if !c.TieEmbeddings {
		head = i.matrix(&w.Head, false)
	}
	var cosines, sines uint32
	if c.Position == arch.PositionRoPE {
		cf, sf := student.RoPESteps(c.HeadDim, c.RoPETheta)
		cosines, sines = i.put(cf[:c.HeadDim/2]), i.put(sf[:c.HeadDim/2])
	} else {
		positions = i.matrix(&w.Positions, false)
	}
	var layers []uint32
	for l := range w.Layers {
		layers = append(layers, i.layer(l)...)
	}
	eos := int32(-1)
	if i.text != nil {
		eos = i.text.eos
	}
	list := append(append(append([]uint32{}, embedding...), head...), positions...)
	list = append(list, cosines, sines, i.put(layers), i.floats(w.Norm), i.floats(w.NormBias))
	for _, v := range []int{c.VocabSize, c.HiddenSize, c.Layers, c.HeadDim, c.Context, i.buffer, i.scoresAt, i.codesAt, i.row, i.rotaryAt} {
		list = append(list, uint32(v))
	}
	copy(to, append(list, activations[c.Activation], uint32(eos), math.Float32bits(c.NormEps)))
}

func (i *imager) layer(n int) (list []uint32) {
	l, s := &i.w.Layers[n], i.w.Config.Layer(n)
	add := func(m *student.Matrix) { list = append(list, i.matrix(m, i.parts.Blocks && inBlocks(m))...) }
	for _, m := range []*student.Matrix{&l.Query, &l.Key, &l.Value, &l.Output, &l.Up, &l.Down} {
		add(m)
	}
	list = append(list, i.floats(l.Norm1), i.floats(l.Norm2))
	if i.parts.Gate {
		add(&l.Gate)
	} else {
		list = append(list, make([]uint32, matrixWords)...)
	}
	list = append(list, i.floats(l.Norm1Bias), i.floats(l.Norm2Bias), i.floats(l.QueryNorm), i.floats(l.KeyNorm))
	if i.parts.PLE {
		list = append(list, i.matrix(&l.PLE.Table, false)...)
		add(&l.PLE.Gate)
		add(&l.PLE.Out)
	} else {
		list = append(list, make([]uint32, 3*matrixWords)...)
	}
	return append(list,
		uint32(s.Heads), uint32(s.KVHeads), uint32(i.slots[n]), math.Float32bits(s.Scale*scoreUnit))
}

// tokens are student_text_data.
func (i *imager) tokens(to []uint32) {
	t := i.text
	if t == nil {
		return
	}
	at, all := t.joined()
	to[0], to[1], to[2] = i.put(append(all, 0)), i.put(at), i.put(t.added)
	if t.table != nil {
		bytes, merges := t.numbers()
		to[3], to[4], to[5] = i.put(bytes), i.put(append(merges, 0)), uint32(len(t.table.Merges))
	}
	to[6] = uint32(len(t.added))
}
