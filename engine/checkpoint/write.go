package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"mito/engine/files"
)

// Encode writes a safetensors file. The same tensors and metadata give the same bytes: tensors lie by descending element
// size, then by name, as the reference writer lays them, which also aligns every tensor to its element size.
// Errors: the writer's, or *FormatError for a tensor that no reader would accept.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), cmp.Compare(a.DType, b.DType), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(sorted, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for i := range sorted {
		if _, err := w.Write(sorted[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes a safetensors file with SaveFile: the path holds the old file or the whole new one, never a part.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
	err := files.SaveFile(path, func(w io.Writer) error { return Encode(w, tensors, metadata) })
	return files.WithPath(err, path)
}

func encodeHeader(sorted []Tensor, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	if len(metadata) > 0 {
		for k, v := range metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, formatError(ErrSyntax, metaKey, "%q is not valid UTF-8", k)
			}
		}
		text, err := json.Marshal(metadata) // sorts the keys
		if err != nil {
			return nil, formatError(ErrSyntax, metaKey, "%v", err)
		}
		fmt.Fprintf(&b, "%q:%s", metaKey, text)
	}
	seen := make(map[string]bool, len(sorted))
	var at int64
	for i := range sorted {
		t := &sorted[i]
		switch {
		case t.Name == "" || t.Name == metaKey || !utf8.ValidString(t.Name):
			return nil, formatError(ErrSyntax, t.Name, "cannot name a tensor")
		case seen[t.Name]:
			return nil, formatError(ErrDuplicate, t.Name, "")
		case len(t.Shape) > maxDims:
			return nil, formatError(ErrShape, t.Name, "%d dimensions, at most %d", len(t.Shape), maxDims)
		}
		if err := t.check(); err != nil {
			return nil, err
		}
		seen[t.Name] = true
		end := at + int64(len(t.Data))
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, formatError(ErrSyntax, t.Name, "%v", err)
		}
		dims, err := json.Marshal(shape)
		if err != nil {
			return nil, formatError(ErrSyntax, t.Name, "%v", err)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s:{"dtype":"%v","shape":%s,"data_offsets":[%d,%d]}`, name, t.DType, dims, at, end)
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 { // the data then starts at a multiple of 8
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, formatError(ErrHeaderTooBig, "", "%d bytes, at most %d", b.Len(), maxHeader)
	}
	return b.Bytes(), nil
}
