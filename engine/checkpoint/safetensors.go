package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"mito/engine/files"
)

// A safetensors file is
//
//	u64 little endian   H, the length of the header
//	H bytes             one JSON object: name -> {"dtype", "shape", "data_offsets": [begin, end]}, and
//	                    "__metadata__" -> {string: string}; it starts with '{' and may end in spaces
//	the rest            the tensors' bytes; offsets count from here, and cover it without gap or overlap
//
// as laid down by the safetensors project. The limits are the reference reader's, or tighter.
const (
	maxHeader = 100_000_000
	maxDims   = 16
	metaKey   = "__metadata__"
)

// File is a decoded safetensors file. Tensors lie in the order of their bytes.
type File struct {
	Path     string // "" when decoded from memory
	Tensors  []Tensor
	Metadata map[string]string
	index    map[string]int
}

// ReadFile reads and checks a safetensors file. The tensors share one buffer; the typed views copy out of it.
// Errors: the file system's, or *FormatError.
func ReadFile(path string) (*File, error) {
	f, size, err := files.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("reading tensors: %w", err)
	}
	defer f.Close()
	// The header is judged before the body is read, so that a wrong file of any size is refused cheaply.
	header, err := readHeader(f, size)
	if err != nil {
		return nil, files.WithPath(err, path)
	}
	body := size - 8 - int64(len(header))
	if body > int64(math.MaxInt) {
		return nil, &FormatError{Path: path, Err: ErrTooLarge, Detail: fmt.Sprintf("%d bytes", body)}
	}
	file, err := parseHeader(header, body)
	if err != nil {
		return nil, files.WithPath(err, path)
	}
	data := make([]byte, body)
	if _, err := io.ReadFull(f, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, &FormatError{Path: path, Err: ErrTruncated, Detail: "it shrank while being read"}
		}
		return nil, fmt.Errorf("reading tensors: %w", err)
	}
	file.Path = path
	file.attach(data)
	return file, nil
}

// Decode checks a safetensors file held in memory. The tensors share data. Errors: *FormatError.
func Decode(data []byte) (*File, error) {
	header, err := readHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	body := data[8+len(header):]
	file, err := parseHeader(header, int64(len(body)))
	if err != nil {
		return nil, err
	}
	file.attach(body)
	return file, nil
}

// Tensor returns the tensor of that name. Errors: ErrMissing.
func (f *File) Tensor(name string) (*Tensor, error) {
	i, ok := f.index[name]
	if !ok {
		return nil, &FormatError{Path: f.Path, Name: name, Err: ErrMissing, Detail: fmt.Sprintf("the file holds %d tensors", len(f.Tensors))}
	}
	return &f.Tensors[i], nil
}

// Has reports whether the file holds a tensor of that name.
func (f *File) Has(name string) bool {
	_, ok := f.index[name]
	return ok
}

// Get returns the tensor of that name after checking its type and shape. Errors: ErrMissing, ErrDType, ErrShape.
func (f *File) Get(name string, d DType, shape ...int) (*Tensor, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	if t.DType != d {
		return nil, &FormatError{Path: f.Path, Name: name, Err: ErrDType, Detail: fmt.Sprintf("is %v, expected %v", t.DType, d)}
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, &FormatError{Path: f.Path, Name: name, Err: ErrShape, Detail: fmt.Sprintf("is %v, expected %v", t.Shape, shape)}
	}
	return t, nil
}

// Expect refuses a file that lacks one of names or holds a tensor beside them. Errors: ErrMissing, ErrUnexpected.
func (f *File) Expect(names ...string) error {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
		if _, err := f.Tensor(n); err != nil {
			return err
		}
	}
	for i := range f.Tensors {
		if n := f.Tensors[i].Name; !known[n] {
			return &FormatError{Path: f.Path, Name: n, Err: ErrUnexpected, Detail: "the configuration has no place for it"}
		}
	}
	return nil
}

// CheckFinite refuses NaN and infinities in any float tensor. Errors: ErrNotFinite.
func (f *File) CheckFinite() error {
	for i := range f.Tensors {
		if err := f.Tensors[i].CheckFinite(); err != nil {
			return files.WithPath(err, f.Path)
		}
	}
	return nil
}

// Bytes returns the sum of the tensors' bytes, without the header.
func (f *File) Bytes() int64 {
	var n int64
	for i := range f.Tensors {
		n += int64(len(f.Tensors[i].Data))
	}
	return n
}

func readHeader(r io.Reader, size int64) ([]byte, error) {
	if size < 8 {
		return nil, formatError(ErrTruncated, "", "%d bytes, a safetensors file has at least 10", size)
	}
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, formatError(ErrTruncated, "", "the length of the header: %v", err)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return nil, formatError(ErrHeaderTooBig, "", "%d bytes, at most %d; is this a safetensors file?", n, maxHeader)
	}
	if int64(n) > size-8 {
		return nil, formatError(ErrTruncated, "", "the header has %d bytes, the file holds %d after its length", n, size-8)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, formatError(ErrTruncated, "", "the header: %v", err)
	}
	if n < 2 || header[0] != '{' {
		return nil, formatError(ErrSyntax, "", "the header does not start with '{'")
	}
	return header, nil
}

// span is where a tensor lies, before its bytes are attached.
type span struct {
	tensor     Tensor
	begin, end int64
}

// parseHeader checks every tensor against a body of so many bytes and returns them in the order of their bytes.
func parseHeader(header []byte, body int64) (*File, error) {
	if err := files.CheckJSON(header); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(header, &fields); err != nil {
		return nil, formatError(ErrSyntax, "", "header: %v", err)
	}
	file := &File{index: make(map[string]int, len(fields))}
	spans := make([]span, 0, len(fields))
	for name, raw := range fields {
		if name == metaKey {
			var meta map[string]*string // a null value is not a string
			if err := json.Unmarshal(raw, &meta); err != nil {
				return nil, formatError(ErrSyntax, name, "%v", err)
			}
			file.Metadata = make(map[string]string, len(meta))
			for k, v := range meta {
				if v == nil {
					return nil, formatError(ErrSyntax, name, "%q is null, expected a string", k)
				}
				file.Metadata[k] = *v
			}
			continue
		}
		s, err := parseEntry(name, raw, body)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int {
		// Empty tensors lie before the one that starts where they do.
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.tensor.Name, b.tensor.Name))
	})
	var at int64
	file.Tensors = make([]Tensor, len(spans))
	for i, s := range spans {
		switch {
		case s.begin < at:
			return nil, formatError(ErrOverlap, s.tensor.Name, "starts at %d, %q ends at %d", s.begin, spans[i-1].tensor.Name, at)
		case s.begin > at:
			return nil, formatError(ErrGap, s.tensor.Name, "starts at %d, the bytes before it end at %d", s.begin, at)
		}
		at = s.end
		file.Tensors[i] = s.tensor
		file.index[s.tensor.Name] = i
	}
	if at != body {
		return nil, formatError(ErrGap, "", "%d bytes after the last tensor", body-at)
	}
	return file, nil
}

func parseEntry(name string, raw json.RawMessage, body int64) (span, error) {
	// A map, because struct fields would also match "DType" and hide a second spelling.
	var e map[string]json.RawMessage
	if err := json.Unmarshal(raw, &e); err != nil {
		return span{}, formatError(ErrSyntax, name, "%v", err)
	}
	var dtype string
	var dims, offsets []json.RawMessage
	for _, f := range []struct {
		key string
		to  any
	}{{"dtype", &dtype}, {"shape", &dims}, {"data_offsets", &offsets}} {
		text, ok := e[f.key]
		if !ok || string(text) == "null" {
			return span{}, formatError(ErrSyntax, name, "has no %s", f.key)
		}
		if err := json.Unmarshal(text, f.to); err != nil {
			return span{}, formatError(ErrSyntax, name, "%s: %v", f.key, err)
		}
	}
	d, err := ParseDType(dtype)
	if err != nil {
		return span{}, formatError(ErrDType, name, "%q is not one of F32, F16, BF16, I8, U8, I32, I64, BOOL", dtype)
	}
	if len(dims) > maxDims {
		return span{}, formatError(ErrShape, name, "%d dimensions, at most %d", len(dims), maxDims)
	}
	shape := make([]int, len(dims))
	for i, n := range dims {
		v, err := unsigned(name, "shape", n)
		if err != nil {
			return span{}, err
		}
		if v > int64(math.MaxInt) {
			return span{}, formatError(ErrOverflow, name, "dimension %d", v)
		}
		shape[i] = int(v)
	}
	if len(offsets) != 2 {
		return span{}, formatError(ErrSyntax, name, "data_offsets has %d numbers, expected 2", len(offsets))
	}
	begin, err := unsigned(name, "data_offsets", offsets[0])
	if err != nil {
		return span{}, err
	}
	end, err := unsigned(name, "data_offsets", offsets[1])
	if err != nil {
		return span{}, err
	}
	size, err := byteSize(name, d, shape)
	if err != nil {
		return span{}, err
	}
	if end < begin || end-begin != size {
		return span{}, formatError(ErrShape, name, "data_offsets [%d, %d], but %v of shape %v needs %d bytes", begin, end, d, shape, size)
	}
	if end > body {
		return span{}, formatError(ErrTruncated, name, "ends at byte %d of the data, there are %d", end, body)
	}
	return span{Tensor{Name: name, DType: d, Shape: shape}, begin, end}, nil
}

// unsigned takes plain digits only: 1e3, 1.0 and -0 are not sizes.
func unsigned(name, field string, n json.RawMessage) (int64, error) {
	v, err := strconv.ParseUint(string(n), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, formatError(ErrOverflow, name, "%s holds %s", field, n)
	case err != nil:
		return 0, formatError(ErrSyntax, name, "%s holds %q, expected a whole number", field, n)
	}
	return int64(v), nil
}

func (f *File) attach(body []byte) {
	at := 0
	for i := range f.Tensors {
		t := &f.Tensors[i]
		n := t.Len() * t.DType.Size()
		t.Data = body[at : at+n : at+n]
		at += n
	}
}
