package onnx

import (
	"encoding/binary"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// field is a field of a message: a number, or bytes.
type field struct {
	id     int
	number uint64
	bytes  []byte
}

// fields lists the fields of a message. Errors: *files.FormatError.
func fields(data []byte) ([]field, error) {
	bad := func() ([]field, error) {
		return nil, files.Errorf(files.ErrSyntax, "", "it is no ONNX file, or it is cut")
	}
	var list []field
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
			return bad()
		}
		data = data[n:]
		f := field{id: int(tag >> 3)}
		switch tag & 7 {
		case wireVarint:
			if f.number, n = binary.Uvarint(data); n <= 0 {
				return bad()
			}
			data = data[n:]
		case wireBytes:
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return bad()
			}
			f.bytes, data = data[n:][:size], data[n+int(size):]
		case wire32, wire64:
			width := 4
			if tag&7 == wire64 {
				width = 8
			}
			if len(data) < width {
				return bad()
			}
			data = data[width:]
		default:
			return bad()
		}
		list = append(list, f)
	}
	return list, nil
}

// initializer is a tensor of a graph.
type initializer struct {
	kind uint64
	dims []int
	raw  []byte
}

// Read takes the model out of the bytes of a file that Write wrote: its configuration, its tensors under mito's names as F32,
// codes times scales where they are INT8, and its tokenizer, nil for none. It looks at initializers and metadata, not at the
// operators. Errors: *shape.Error for a file of another program, *files.FormatError, *arch.FieldError.
func Read(data []byte) (c arch.Config, tensors []checkpoint.Tensor, tok tokenizer.Tokenizer, err error) {
	top, err := fields(data)
	if err != nil {
		return c, nil, nil, err
	}
	config, tokens := "", ""
	found := map[string]initializer{}
	for _, f := range top {
		switch f.id {
		case 7:
			err = readGraph(f.bytes, found)
		case 14:
			var pair []field
			if pair, err = fields(f.bytes); err != nil || len(pair) < 2 {
				break
			}
			switch string(pair[0].bytes) {
			case configKey:
				config = string(pair[1].bytes)
			case tokenizerKey:
				tokens = string(pair[1].bytes)
			}
		}
		if err != nil {
			return c, nil, nil, err
		}
	}
	if config == "" {
		return c, nil, nil, &shape.Error{Format: name, What: "the file is not one that mito wrote, and mito does not interpret graphs", Do: "import the model that it was made of"}
	}
	if c, err = arch.Parse([]byte(config)); err != nil {
		return c, nil, nil, err
	}
	values := shape.Values{}
	for _, t := range c.Tensors() {
		x, ok := found[t.Name]
		if !ok {
			return c, nil, nil, files.Errorf(checkpoint.ErrMissing, t.Name, "")
		}
		if values[t.Name], err = x.values(t, found[t.Name+"_scale"]); err != nil {
			return c, nil, nil, err
		}
	}
	tensors = shape.Tensors(&c, values)
	for i := range tensors {
		if err := tensors[i].CheckFinite(); err != nil {
			return c, nil, nil, err
		}
	}
	if tokens != "" {
		tok, err = tokenizer.Parse([]byte(tokens))
	}
	return c, tensors, tok, err
}

func readGraph(data []byte, found map[string]initializer) error {
	list, err := fields(data)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.id != 5 {
			continue
		}
		parts, err := fields(f.bytes)
		if err != nil {
			return err
		}
		var x initializer
		name := ""
		for _, p := range parts {
			switch p.id {
			case 1:
				x.dims = append(x.dims, int(p.number))
			case 2:
				x.kind = p.number
			case 8:
				name = string(p.bytes)
			case 9:
				x.raw = p.bytes
			}
		}
		found[name] = x
	}
	return nil
}

// values are the elements of a tensor of mito's.
func (x *initializer) values(t arch.Tensor, scale initializer) ([]float32, error) {
	n := int(t.Size())
	same := len(x.dims) == len(t.Shape)
	for i := range t.Shape {
		same = same && x.dims[i] == t.Shape[i]
	}
	width := map[uint64]int{typeFloat: 4, typeInt8: 1}[x.kind]
	if !same || width == 0 || len(x.raw) != width*n || x.kind == typeInt8 && (len(t.Shape) != 2 || scale.kind != typeFloat || len(scale.raw) != 4*t.Shape[0]) {
		return nil, files.Errorf(checkpoint.ErrShape, t.Name, "is %v of type %d, expected %v as float32, or as int8 with scales", x.dims, x.kind, t.Shape)
	}
	float := func(raw []byte, i int) float32 {
		return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	out := make([]float32, n)
	for i := range out {
		if x.kind == typeFloat {
			out[i] = float(x.raw, i)
		} else {
			out[i] = float32(int8(x.raw[i])) * float(scale.raw, i/t.Shape[1])
		}
	}
	return out, nil
}
