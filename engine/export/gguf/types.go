package gguf

import (
	"fmt"
	"math"

	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/files"
)

const name = "GGUF" // in errors

// Type is the element type of a tensor, as ggml numbers it.
type Type uint32

// The types that are written; BF16 is read too.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q8_0 Type = 8
	BF16 Type = 30
)

// block is the number of elements that share a scale in Q4_0 and Q8_0.
const block = 32

// typeNames are those of ggml, also of what is not read, for the refusal.
var typeNames = map[Type]string{
	F32: "F32", F16: "F16", Q4_0: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", Q8_0: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
	14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8",
	25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", BF16: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// fileTypes are general.file_type, which says what most matrices are.
var fileTypes = map[Type]uint32{F32: 0, F16: 1, Q4_0: 2, Q8_0: 7}

// String is ggml's name of the type.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// ParseType finds a type that can be written by its name. Errors: *shape.Error.
func ParseType(s string) (Type, error) {
	for t := range fileTypes {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, &shape.Error{Format: name, What: fmt.Sprintf("matrices cannot be written as %q", s), Do: "take F32, F16, Q8_0 or Q4_0"}
}

// bytes is the size of n elements in rows of cols; ok is false where the type is not read or rows are no whole blocks.
func (t Type) bytes(n, cols int64) (size int64, ok bool) {
	switch t {
	case F32:
		return 4 * n, n <= math.MaxInt64/4
	case F16, BF16:
		return 2 * n, n <= math.MaxInt64/2
	case Q8_0:
		return n / block * (2 + block), cols%block == 0
	case Q4_0:
		return n / block * (2 + block/2), cols%block == 0
	}
	return 0, false
}

// encode rounds values to a type. Errors: ErrNotFinite for values that F16 does not hold.
func encode(t Type, tensor string, values []float32) ([]byte, error) {
	switch t {
	case Q8_0, Q4_0:
		return encodeBlocks(t, tensor, values)
	}
	to := checkpoint.F32
	if t == F16 {
		to = checkpoint.F16
	}
	out, err := checkpoint.FromF32As(to, tensor, []int{len(values)}, values)
	if err != nil {
		return nil, err
	}
	if err := out.CheckFinite(); err != nil {
		return nil, fmt.Errorf("as F16, which holds values up to 65504: %w", err)
	}
	return out.Data, nil
}

// encodeBlocks quantises as ggml's quantize_row_q8_0_ref and quantize_row_q4_0_ref do: the codes come from the scale
// before it is rounded to F16.
func encodeBlocks(t Type, tensor string, values []float32) ([]byte, error) {
	n := len(values) / block
	scales := make([]float32, n)
	codes := make([]byte, 0, n*block)
	for b := range n {
		x := values[b*block:][:block]
		top := x[0] // the element of the largest magnitude, the first of equals
		for _, v := range x {
			if math.Abs(float64(v)) > math.Abs(float64(top)) {
				top = v
			}
		}
		if t == Q8_0 {
			d, inverse := float32(math.Abs(float64(top)))/127, float32(0)
			if d != 0 {
				inverse = 1 / d
			}
			scales[b] = d
			for _, v := range x {
				codes = append(codes, byte(int8(math.Round(float64(v*inverse)))))
			}
			continue
		}
		d, inverse := top/-8, float32(0)
		if d != 0 {
			inverse = 1 / d
		}
		scales[b] = d
		code := func(v float32) byte { return byte(min(15, int8(float32(v*inverse)+8.5))) }
		for i := range block / 2 {
			codes = append(codes, code(x[i])|code(x[i+block/2])<<4)
		}
	}
	d, err := encode(F16, tensor, scales)
	if err != nil {
		return nil, err
	}
	each := len(codes) / max(1, n)
	out := make([]byte, 0, len(d)+len(codes))
	for b := range n {
		out = append(out, d[2*b:2*b+2]...)
		out = append(out, codes[b*each:][:each]...)
	}
	return out, nil
}

// decode widens the bytes of a tensor, of which there are as many as the type needs.
func decode(t Type, tensor string, data []byte) ([]float32, error) {
	switch t {
	case Q8_0, Q4_0:
		return decodeBlocks(t, tensor, data)
	}
	from := map[Type]checkpoint.DType{F32: checkpoint.F32, F16: checkpoint.F16, BF16: checkpoint.BF16}[t]
	if from == 0 {
		return nil, refused(tensor, t)
	}
	x := checkpoint.Tensor{Name: tensor, DType: from, Shape: []int{len(data) / from.Size()}, Data: data}
	if err := x.CheckFinite(); err != nil {
		return nil, err
	}
	return x.Float()
}

func decodeBlocks(t Type, tensor string, data []byte) ([]float32, error) {
	each := block
	if t == Q4_0 {
		each = block / 2
	}
	n := len(data) / (2 + each)
	d := make([]byte, 0, 2*n)
	for b := range n {
		d = append(d, data[b*(2+each):][:2]...)
	}
	scales, err := decode(F16, tensor, d)
	if err != nil {
		return nil, err
	}
	out := make([]float32, n*block)
	for b := range n {
		codes, x := data[b*(2+each)+2:][:each], out[b*block:][:block]
		for i, c := range codes {
			if t == Q8_0 {
				x[i] = float32(int8(c)) * scales[b]
				continue
			}
			x[i] = float32(int(c&15)-8) * scales[b]
			x[i+block/2] = float32(int(c>>4)-8) * scales[b]
		}
	}
	return out, nil
}

// refused is the error for a type that is not read.
func refused(tensor string, t Type) error {
	return files.Errorf(checkpoint.ErrDType, tensor, "is %s; mito reads F32, F16, BF16, Q8_0 and Q4_0: convert the file with "+
		"llama-quantize --allow-requantize IN.gguf OUT.gguf Q8_0, or better from the model it was made of", t)
}
