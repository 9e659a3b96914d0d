package gguf

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"mito/engine/checkpoint"
	"mito/engine/files"
)

// Limits of what is read, far above those of real files.
const (
	maxPairs   = 1 << 16
	maxTensors = 1 << 16
	maxDims    = 4
)

// file is the contents of a file. Of metadata, numbers are float64 or, where whole, int64; strings, bools and lists of them
// are Go's.
type file struct {
	pairs   map[string]any
	tensors []tensor
	byName  map[string]int
}

// reader takes values off the front of a file and keeps the first error.
type reader struct {
	data []byte
	at   int
	err  error
}

func (r *reader) fail(kind error, field, format string, args ...any) {
	if r.err == nil {
		r.err = files.Errorf(kind, field, format, args...)
	}
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.data)-r.at) {
		r.fail(files.ErrTruncated, "", "%d bytes are due at byte %d of %d", n, r.at, len(r.data))
		return nil
	}
	b := r.data[r.at:][:n]
	r.at += int(n)
	return b
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) str() string { return string(r.take(r.u64())) }

// name reads a key or the name of a tensor, which end up in messages and maps.
func (r *reader) name(what string) string {
	s := r.str()
	if r.err == nil && (s == "" || len(s) > 256 || !utf8.ValidString(s)) {
		r.fail(files.ErrSyntax, "", "%s at byte %d is empty, longer than 256 bytes or not UTF-8", what, r.at)
	}
	return s
}

// size is that of a value of a kind with a fixed one, 0 for others.
func size(kind uint32) uint64 {
	switch kind {
	case kindU8, kindI8, kindBool:
		return 1
	case kindU16, kindI16:
		return 2
	case kindU32, kindI32, kindF32:
		return 4
	case kindU64, kindI64, kindF64:
		return 8
	}
	return 0
}

func (r *reader) scalar(kind uint32) any {
	if kind == kindString {
		return r.str()
	}
	n := size(kind)
	if n == 0 {
		r.fail(files.ErrSyntax, "", "a value at byte %d has the unknown kind %d", r.at, kind)
		return nil
	}
	b := r.take(n)
	if b == nil {
		return nil
	}
	var wide [8]byte
	copy(wide[:], b)
	u := binary.LittleEndian.Uint64(wide[:])
	switch kind {
	case kindI8:
		return int64(int8(u))
	case kindI16:
		return int64(int16(u))
	case kindI32:
		return int64(int32(u))
	case kindF32:
		return float64(math.Float32frombits(uint32(u)))
	case kindF64:
		return math.Float64frombits(u)
	case kindBool:
		return u != 0
	}
	if u > math.MaxInt64 {
		r.fail(files.ErrRange, "", "a number at byte %d is %d", r.at, u)
	}
	return int64(u)
}

func (r *reader) value() any {
	kind := r.u32()
	if kind != kindArray {
		return r.scalar(kind)
	}
	kind = r.u32()
	n := r.u64()
	least := max(size(kind), 1)
	if kind == kindString {
		least = 8
	}
	if r.err == nil && n > uint64(len(r.data)-r.at)/least {
		r.fail(files.ErrTruncated, "", "a list of %d entries at byte %d of %d", n, r.at, len(r.data))
	}
	var list []any
	for range n {
		if r.err != nil {
			return nil
		}
		list = append(list, r.scalar(kind)) // a list in a list is an unknown kind
	}
	return list
}

// parse reads a file that lies in memory. Errors: *files.FormatError.
func parse(data []byte) (*file, error) {
	r := &reader{data: data}
	if string(r.take(4)) != magic {
		return nil, files.Errorf(files.ErrSyntax, "", "it does not begin with GGUF")
	}
	if v := r.u32(); r.err == nil && v != 2 && v != version {
		return nil, files.Errorf(files.ErrSyntax, "", "it is of version %d (or of a big-endian machine); mito reads 2 and 3", v)
	}
	tensors, pairs := r.u64(), r.u64()
	if tensors > maxTensors || pairs > maxPairs {
		return nil, files.Errorf(files.ErrTooLarge, "", "%d tensors and %d keys; at most %d and %d are read", tensors, pairs, maxTensors, maxPairs)
	}
	f := &file{pairs: map[string]any{}, byName: map[string]int{}}
	for range pairs {
		key := r.name("a key")
		if _, twice := f.pairs[key]; twice {
			r.fail(files.ErrDuplicate, key, "")
		}
		if f.pairs[key] = r.value(); r.err != nil {
			return nil, r.err
		}
	}
	align := int64(alignment)
	if a, ok := f.pairs["general.alignment"]; ok {
		n, whole := a.(int64)
		if !whole || n < 1 || n > 1<<20 || n&(n-1) != 0 {
			return nil, files.Errorf(files.ErrRange, "general.alignment", "is %v, want a power of two", a)
		}
		align = n
	}
	offsets := make([]uint64, 0, min(tensors, 1024))
	for range tensors {
		t, offset := r.tensor()
		if r.err != nil {
			return nil, r.err
		}
		if _, twice := f.byName[t.name]; twice {
			return nil, files.Errorf(files.ErrDuplicate, t.name, "")
		}
		f.byName[t.name] = len(f.tensors)
		f.tensors, offsets = append(f.tensors, t), append(offsets, offset)
	}
	if r.err != nil {
		return nil, r.err
	}
	start := (int64(r.at) + align - 1) / align * align
	body := int64(len(data)) - start
	for i := range f.tensors {
		t := &f.tensors[i]
		n, err := t.size()
		if err != nil {
			return nil, err
		}
		if offsets[i]%uint64(align) != 0 {
			return nil, files.Errorf(files.ErrRange, t.name, "begins at %d, which is no multiple of %d", offsets[i], align)
		}
		if body < 0 || offsets[i] > uint64(body) || n > body-int64(offsets[i]) {
			return nil, files.Errorf(files.ErrTruncated, t.name, "%d bytes from %d on, of %d that follow the header", n, offsets[i], max(0, body))
		}
		t.data = data[start+int64(offsets[i]):][:n]
	}
	return f, nil
}

func (r *reader) tensor() (t tensor, offset uint64) {
	t.name = r.name("the name of a tensor")
	dims := r.u32()
	if r.err == nil && (dims < 1 || dims > maxDims) {
		r.fail(checkpoint.ErrShape, t.name, "has %d dimensions, 1 to %d are read", dims, maxDims)
	}
	if r.err != nil {
		return t, 0
	}
	t.shape = make([]int, dims)
	for i := range t.shape {
		n := r.u64()
		if n < 1 || n > math.MaxInt32 {
			r.fail(checkpoint.ErrShape, t.name, "has %d elements in a dimension", n)
		}
		t.shape[len(t.shape)-1-i] = int(n)
	}
	t.t = Type(r.u32())
	return t, r.u64()
}

// size is the number of bytes of a tensor.
func (t *tensor) size() (int64, error) {
	n := int64(1)
	for _, d := range t.shape {
		if n > math.MaxInt64/int64(d) {
			return 0, files.Errorf(checkpoint.ErrOverflow, t.name, "of shape %v", t.shape)
		}
		n *= int64(d)
	}
	cols := int64(t.shape[len(t.shape)-1])
	size, ok := t.t.bytes(n, cols)
	if !ok && cols%block != 0 && (t.t == Q8_0 || t.t == Q4_0) {
		return 0, files.Errorf(checkpoint.ErrShape, t.name, "is %s with rows of %d elements, which are no whole blocks of %d", t.t, cols, block)
	}
	if !ok {
		return 0, refused(t.name, t.t)
	}
	return size, nil
}
