package checkpoint

import (
	"fmt"
	"slices"

	"mito/engine/files"
)

// The format of matrices in codes of fewer than 8 bits, which is mito's own. Every 32 neighbours in a row of a matrix [N,K] are
// codes times a small integer of their group, which is an INT8 weight exactly; W[n,k] = code·group·scale.
//
//	<module>.weight_packed  U8 [N,P]        code+L, L = 2^(bits-1)-1 the largest code: bits each, from the least significant bit of
//	                                        the first byte on, P = ⌈K·bits/8⌉; of Ternary five to a byte, c0+3·c1+9·c2+27·c3+81·c4, P = ⌈K/5⌉
//	<module>.weight_group   U8 [N,⌈K/32⌉]   1 to 127/L; 0 where all are zero
//	<module>.weight_scale   F32 [N,1]
const (
	codeFormat = "mito-codes"
	// CodeGroup is the number of neighbours in a row that share an integer.
	CodeGroup = 32
	// Ternary stands for codes of -1, 0 and 1, of which five lie in a byte.
	Ternary = 2
	// WholeBits is a weight that is stored as it is.
	WholeBits = 8

	perByte = 5 // ternary codes
)

// MaxCode is the largest code of so many bits; the smallest is its negative.
func MaxCode(bits int) int { return 1<<(bits-1) - 1 }

// MaxGroup is the largest integer of a group of codes of so many bits: their products are INT8 weights.
func MaxGroup(bits int) int { return 127 / MaxCode(bits) }

func rowBytes(cols, bits int) int {
	if bits == Ternary {
		return (cols + perByte - 1) / perByte
	}
	return (cols*bits + 7) / 8
}

func groups(cols int) int { return (cols + CodeGroup - 1) / CodeGroup }

// CodeBytes is the size of a matrix [rows,cols] in codes, without its scales.
func CodeBytes(rows, cols, bits int) int { return rows * (rowBytes(cols, bits) + groups(cols)) }

// CodeNames are the tensors of a matrix in codes.
func CodeNames(module string) []string {
	return []string{module + ".weight_packed", module + ".weight_group", module + ".weight_scale"}
}

// CodeTensors returns a matrix in codes of 3 to 7 bits or Ternary, with its scales. The integer of a group is the smallest
// that divides its weights and leaves codes of so many bits. Errors: as of QuantizedTensors; ErrRange for weights that no codes of so many bits make.
func CodeTensors(module string, rows, cols, bits int, weights []int8, scales []float32) ([]Tensor, error) {
	whole, err := QuantizedTensors(module, rows, cols, weights, scales)
	if err != nil {
		return nil, err
	}
	if bits < Ternary || bits >= WholeBits {
		return nil, formatError(ErrRange, module+".weight", "codes of %d bits, expected %d to %d", bits, Ternary, WholeBits-1)
	}
	packed, multipliers := make([]byte, rows*rowBytes(cols, bits)), make([]byte, rows*groups(cols))
	codes := make([]byte, cols)
	most := MaxCode(bits)
	for r := range rows {
		row, at := weights[r*cols:][:cols], multipliers[r*groups(cols):]
		for g := range groups(cols) {
			part := row[g*CodeGroup : min(cols, (g+1)*CodeGroup)]
			d := divisor(part, bits)
			if d > MaxGroup(bits) {
				return nil, formatError(ErrRange, module+".weight", "the weights of row %d, group %d are no codes of %d bits", r, g, bits)
			}
			at[g] = byte(d)
			for i, q := range part {
				codes[g*CodeGroup+i] = byte(int(q)/max(1, d) + most)
			}
		}
		pack(packed[r*rowBytes(cols, bits):][:rowBytes(cols, bits)], codes, bits)
	}
	return []Tensor{
		FromU8(module+".weight_packed", []int{rows, rowBytes(cols, bits)}, packed),
		FromU8(module+".weight_group", []int{rows, groups(cols)}, multipliers), whole[1],
	}, nil
}

// divisor is the smallest integer that divides some weights and leaves codes of so many bits, 0 where all are 0. It is too large for
// a group where there is none.
func divisor(w []int8, bits int) int {
	common, largest := 0, 0
	for _, q := range w {
		a, b := common, max(int(q), -int(q))
		largest = max(largest, b)
		for b != 0 {
			a, b = b, a%b
		}
		common = a
	}
	d := (largest + MaxCode(bits) - 1) / MaxCode(bits)
	for d < common && common%d != 0 {
		d++
	}
	if d > common {
		return MaxGroup(bits) + 1
	}
	return d
}

// pack writes codes that begin at 0.
func pack(dst, codes []byte, bits int) {
	if bits == Ternary {
		for i, c := range slices.Backward(codes) {
			dst[i/perByte] = dst[i/perByte]*3 + c
		}
		return
	}
	for i, c := range codes {
		at := i * bits
		dst[at/8] |= c << (at % 8)
		if at%8+bits > 8 {
			dst[at/8+1] |= c >> (8 - at%8)
		}
	}
}

// unpack is the inverse of pack. It returns the index of a byte that holds what pack does not write, or -1.
func unpack(codes, src []byte, bits int) int {
	if bits == Ternary {
		for i, b := range src {
			for j := i * perByte; j < min((i+1)*perByte, len(codes)); j++ {
				codes[j] = b % 3
				b /= 3
			}
			if b != 0 {
				return i
			}
		}
		return -1
	}
	mask := byte(1<<bits - 1)
	for i := range codes {
		at := i * bits
		c := src[at/8] >> (at % 8)
		if at%8+bits > 8 {
			c |= src[at/8+1] << (8 - at%8)
		}
		codes[i] = c & mask
	}
	if used := len(codes) * bits % 8; used != 0 && src[len(src)-1]>>used != 0 {
		return len(src) - 1
	}
	return -1
}

// Codes is the inverse of [CodeTensors]: the INT8 weights. Errors: ErrMissing, ErrDType, ErrShape, ErrRange, ErrNotFinite.
func (f *File) Codes(module string, rows, cols, bits int) (weights []int8, scales []float32, err error) {
	if bits < Ternary || bits >= WholeBits {
		return nil, nil, files.WithPath(formatError(ErrRange, module+".weight_packed", "has codes of %d bits, expected %d to %d", bits, Ternary, WholeBits-1), f.Path)
	}
	// Sizes are compared with the tensors before anything is made of them.
	packed, err := f.Get(module+".weight_packed", U8, rows, rowBytes(cols, bits))
	if err != nil {
		return nil, nil, err
	}
	multipliers, err := f.Get(module+".weight_group", U8, rows, groups(cols))
	if err != nil {
		return nil, nil, err
	}
	s, err := f.Get(module+".weight_scale", F32, rows, 1)
	if err != nil {
		return nil, nil, err
	}
	if scales, err = s.F32(); err != nil {
		return nil, nil, err
	}
	bad := func(name, format string, args ...any) error {
		return files.WithPath(formatError(ErrRange, module+name, format, args...), f.Path)
	}
	weights = make([]int8, rows*cols)
	codes, most, width := make([]byte, cols), MaxCode(bits), rowBytes(cols, bits)
	for r := range rows {
		if i := unpack(codes, packed.Data[r*width:][:width], bits); i >= 0 {
			return nil, nil, bad(".weight_packed", "row %d, byte %d holds more than its codes", r, i)
		}
		row, at := weights[r*cols:][:cols], multipliers.Data[r*groups(cols):][:groups(cols)]
		for i, c := range codes {
			m := int(at[i/CodeGroup])
			if m > MaxGroup(bits) {
				return nil, nil, bad(".weight_group", "row %d, group %d is %d, expected 0 to %d", r, i/CodeGroup, m, MaxGroup(bits))
			}
			if int(c) > 2*most {
				return nil, nil, bad(".weight_packed", "row %d, code %d is %d, expected 0 to %d", r, i, c, 2*most)
			}
			row[i] = int8((int(c) - most) * m)
		}
	}
	if err := checkQuantized(module, cols, weights, scales); err != nil {
		return nil, nil, files.WithPath(err, f.Path)
	}
	return weights, scales, nil
}

// AddCodes says that some modules are stored in codes of so many bits.
func (q *Quantization) AddCodes(bits int, modules []string) {
	size := CodeGroup
	q.ConfigGroups[fmt.Sprintf("codes_%d", bits)] = QuantGroup{
		Format: codeFormat, Targets: modules,
		Weights: &QuantArgs{NumBits: bits, Type: "int", Symmetric: true, Strategy: "group", GroupSize: &size, Dynamic: false, ObserverKwargs: map[string]any{}},
	}
}

// Codes returns the bits of the modules that are stored in codes.
func (q *Quantization) Codes() map[string]int {
	bits := map[string]int{}
	for _, g := range q.ConfigGroups {
		if g.Format == codeFormat && g.Weights != nil {
			for _, m := range g.Targets {
				bits[m] = g.Weights.NumBits
			}
		}
	}
	return bits
}

// checkCodes refuses a group of codes that are not mito's.
func (g *QuantGroup) checkCodes(r *files.Ranges, field string) {
	a := g.Weights
	r.Int(field+".num_bits", int64(a.NumBits), Ternary, WholeBits-1)
	r.OneOf(field+".type", a.Type, "int")
	r.OneOf(field+".symmetric", fmt.Sprint(a.Symmetric), "true")
	r.OneOf(field+".strategy", a.Strategy, "group")
	r.OneOf(field+".dynamic", fmt.Sprint(a.Dynamic), "false")
	if a.GroupSize == nil {
		r.OneOf(field+".group_size", "null", fmt.Sprint(CodeGroup))
	} else {
		r.Int(field+".group_size", int64(*a.GroupSize), CodeGroup, CodeGroup)
	}
}
