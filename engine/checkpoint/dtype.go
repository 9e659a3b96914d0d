package checkpoint

import "math"

// DType is the element type of a tensor on disk. The zero value is no type.
type DType uint8

// The element types that mito reads and writes, all little endian. Among types of one size this order is the one in which
// the reference writer lays them in a file.
const (
	F32 DType = iota + 1
	BF16
	F16
	I8
	U8
	I32
	I64
	Bool // read only, in files of other programs
)

var dtypes = [...]struct {
	name string
	size int
}{F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2}, I8: {"I8", 1}, U8: {"U8", 1}, I32: {"I32", 4}, I64: {"I64", 8}, Bool: {"BOOL", 1}}

// String returns the name that safetensors uses, such as "BF16".
func (d DType) String() string {
	if !d.valid() {
		return "none"
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for an invalid type.
func (d DType) Size() int {
	if !d.valid() {
		return 0
	}
	return dtypes[d].size
}

func (d DType) valid() bool { return d >= F32 && int(d) < len(dtypes) }

// ParseDType is the inverse of String.
func ParseDType(name string) (DType, error) {
	for d := F32; d.valid(); d++ {
		if dtypes[d].name == name {
			return d, nil
		}
	}
	return 0, formatError(ErrDType, "", "%q is not one of F32, F16, BF16, I8, U8, I32, I64, BOOL", name)
}

// bf16ToF32 is exact: bfloat16 is the upper half of a float32.
func bf16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// f32ToBF16 rounds to nearest, ties to even; NaN stays NaN.
func f32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}

// f16ToF32 is exact.
func f16ToF32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h) & 0x3ff
	switch exp {
	case 0: // zero and subnormals: frac * 2^-24 is exact in float32
		f := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// f32ToF16 rounds to nearest, ties to even; values of 65520 and more become infinite, NaN stays NaN.
func f32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520 rounds to 2^16
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: the unit is 2^-24, and scaling by 2^24 is exact
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(b))*0x1p24))
	}
	return sign | uint16((b-(112<<23)+0xfff+(b>>13)&1)>>13)
}
