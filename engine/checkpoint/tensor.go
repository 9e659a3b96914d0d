package checkpoint

import (
	"encoding/binary"
	"math"
	"slices"
)

// Tensor is one named array as it lies in a file: row-major, little endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // empty for a scalar
	Data  []byte // product(Shape) * DType.Size() bytes
}

// FromF32 makes an F32 tensor from values.
func FromF32(name string, shape []int, values []float32) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{Name: name, DType: F32, Shape: slices.Clone(shape), Data: data}
}

// FromF32As makes a tensor of type to (F32, F16 or BF16), rounding each value to nearest even.
func FromF32As(to DType, name string, shape []int, values []float32) (Tensor, error) {
	var round func(float32) uint16
	switch to {
	case F32:
		return FromF32(name, shape, values), nil
	case F16:
		round = f32ToF16
	case BF16:
		round = f32ToBF16
	default:
		return Tensor{}, formatError(ErrDType, name, "float32 values cannot be stored as %v", to)
	}
	data := make([]byte, 2*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint16(data[2*i:], round(v))
	}
	return Tensor{Name: name, DType: to, Shape: slices.Clone(shape), Data: data}, nil
}

// FromI8 makes an I8 tensor from values.
func FromI8(name string, shape []int, values []int8) Tensor {
	data := make([]byte, len(values))
	for i, v := range values {
		data[i] = byte(v)
	}
	return Tensor{Name: name, DType: I8, Shape: slices.Clone(shape), Data: data}
}

// FromI32 makes an I32 tensor from values.
func FromI32(name string, shape []int, values []int32) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], uint32(v))
	}
	return Tensor{Name: name, DType: I32, Shape: slices.Clone(shape), Data: data}
}

// FromI64 makes an I64 tensor from values.
func FromI64(name string, shape []int, values []int64) Tensor {
	data := make([]byte, 8*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(v))
	}
	return Tensor{Name: name, DType: I64, Shape: slices.Clone(shape), Data: data}
}

// FromU8 makes a U8 tensor that shares values.
func FromU8(name string, shape []int, values []byte) Tensor {
	return Tensor{Name: name, DType: U8, Shape: slices.Clone(shape), Data: values}
}

// Len returns the number of elements that the shape says, which is 1 for a scalar.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

func (t *Tensor) want(d DType) error {
	if t.DType != d {
		return formatError(ErrDType, t.Name, "is %v, expected %v", t.DType, d)
	}
	return t.check()
}

// check refuses a tensor whose type, shape and bytes disagree.
func (t *Tensor) check() error {
	n, err := byteSize(t.Name, t.DType, t.Shape)
	if err != nil {
		return err
	}
	if n != int64(len(t.Data)) {
		return formatError(ErrShape, t.Name, "%v of shape %v needs %d bytes, there are %d", t.DType, t.Shape, n, len(t.Data))
	}
	return nil
}

// F32 returns a copy of the values of an F32 tensor. Errors: ErrDType.
func (t *Tensor) F32() ([]float32, error) {
	if err := t.want(F32); err != nil {
		return nil, err
	}
	return t.Float()
}

// Float returns the values of an F32, F16 or BF16 tensor as float32, which is exact. Errors: ErrDType.
func (t *Tensor) Float() ([]float32, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	switch t.DType {
	case F32:
		out := make([]float32, len(t.Data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
		return out, nil
	case F16, BF16:
		widen := f16ToF32
		if t.DType == BF16 {
			widen = bf16ToF32
		}
		out := make([]float32, len(t.Data)/2)
		for i := range out {
			out[i] = widen(binary.LittleEndian.Uint16(t.Data[2*i:]))
		}
		return out, nil
	}
	return nil, formatError(ErrDType, t.Name, "is %v, expected F32, F16 or BF16", t.DType)
}

// I8 returns a copy of the values of an I8 tensor. Errors: ErrDType.
func (t *Tensor) I8() ([]int8, error) {
	if err := t.want(I8); err != nil {
		return nil, err
	}
	out := make([]int8, len(t.Data))
	for i, b := range t.Data {
		out[i] = int8(b)
	}
	return out, nil
}

// U8 returns a copy of the values of a U8 tensor. Errors: ErrDType.
func (t *Tensor) U8() ([]byte, error) {
	if err := t.want(U8); err != nil {
		return nil, err
	}
	return slices.Clone(t.Data), nil
}

// I32 returns a copy of the values of an I32 tensor. Errors: ErrDType.
func (t *Tensor) I32() ([]int32, error) {
	if err := t.want(I32); err != nil {
		return nil, err
	}
	out := make([]int32, len(t.Data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return out, nil
}

// I64 returns a copy of the values of an I64 tensor. Errors: ErrDType.
func (t *Tensor) I64() ([]int64, error) {
	if err := t.want(I64); err != nil {
		return nil, err
	}
	out := make([]int64, len(t.Data)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return out, nil
}

// CheckFinite refuses NaN and infinities in a float tensor and passes integer ones. Errors: ErrNotFinite, with the index.
func (t *Tensor) CheckFinite() error {
	if err := t.check(); err != nil {
		return err
	}
	bad := func(i int) error {
		return formatError(ErrNotFinite, t.Name, "element %d of shape %v; the run that wrote it diverged, or the file is damaged", i, t.Shape)
	}
	// An exponent of all ones is NaN or infinite in each of the three formats.
	switch t.DType {
	case F32:
		for i := 0; i < len(t.Data); i += 4 {
			if binary.LittleEndian.Uint32(t.Data[i:])&0x7f800000 == 0x7f800000 {
				return bad(i / 4)
			}
		}
	case F16, BF16:
		mask := uint16(0x7c00)
		if t.DType == BF16 {
			mask = 0x7f80
		}
		for i := 0; i < len(t.Data); i += 2 {
			if binary.LittleEndian.Uint16(t.Data[i:])&mask == mask {
				return bad(i / 2)
			}
		}
	}
	return nil
}

// byteSize is product(shape) * size, with every factor and product checked.
func byteSize(name string, d DType, shape []int) (int64, error) {
	if !d.valid() {
		return 0, formatError(ErrDType, name, "the tensor has no element type")
	}
	n, zero := int64(d.Size()), false
	for _, dim := range shape {
		if dim < 0 {
			return 0, formatError(ErrShape, name, "dimension %d of shape %v is negative", dim, shape)
		}
		if dim == 0 {
			zero = true
			continue
		}
		// A zero elsewhere makes the product 0, but the others must still be sane.
		if n > math.MaxInt64/int64(dim) {
			return 0, formatError(ErrOverflow, name, "shape %v of %v", shape, d)
		}
		n *= int64(dim)
	}
	if zero {
		return 0, nil
	}
	if n > int64(math.MaxInt) {
		return 0, formatError(ErrOverflow, name, "shape %v of %v", shape, d)
	}
	return n, nil
}
