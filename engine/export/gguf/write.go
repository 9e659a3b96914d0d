package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Of the file: how it begins, and what data is aligned to.
const (
	magic     = "GGUF"
	version   = 3
	alignment = 32
)

// Kinds of values in the metadata.
const (
	kindU8 = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindString
	kindArray
	kindU64
	kindI64
	kindF64
)

// pair is an entry of the metadata. Of values, uint32, float32, bool, string, []int32, []float32 and []string are written.
type pair struct {
	key   string
	value any
}

// tensor is an array of a file. Shape is mito's, rows first: the file has it the other way round.
type tensor struct {
	name  string
	t     Type
	shape []int
	data  []byte
}

// writeFile writes metadata and tensors.
func writeFile(w io.Writer, pairs []pair, tensors []tensor) error {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(pairs)))
	for _, p := range pairs {
		b = appendString(b, p.key)
		var err error
		if b, err = appendValue(b, p.value); err != nil {
			return fmt.Errorf("%s: key %s: %w", name, p.key, err)
		}
	}
	at := 0
	for _, t := range tensors {
		b = appendString(b, t.name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.shape)))
		for i := range t.shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(t.shape[len(t.shape)-1-i]))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.t))
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
		at += padded(len(t.data))
	}
	b = append(b, make([]byte, padded(len(b))-len(b))...)
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.data); err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, padded(len(t.data))-len(t.data))); err != nil {
			return err
		}
	}
	return nil
}

func padded(n int) int { return (n + alignment - 1) / alignment * alignment }

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendValue(b []byte, value any) ([]byte, error) {
	u32 := binary.LittleEndian.AppendUint32
	list := func(kind uint32, n int) {
		b = binary.LittleEndian.AppendUint64(u32(u32(b, kindArray), kind), uint64(n))
	}
	switch v := value.(type) {
	case uint32:
		b = u32(u32(b, kindU32), v)
	case float32:
		b = u32(u32(b, kindF32), math.Float32bits(v))
	case bool:
		b = append(u32(b, kindBool), 0)
		if v {
			b[len(b)-1] = 1
		}
	case string:
		b = appendString(u32(b, kindString), v)
	case []int32:
		list(kindI32, len(v))
		for _, x := range v {
			b = u32(b, uint32(x))
		}
	case []float32:
		list(kindF32, len(v))
		for _, x := range v {
			b = u32(b, math.Float32bits(x))
		}
	case []string:
		list(kindString, len(v))
		for _, x := range v {
			b = appendString(b, x)
		}
	default:
		return nil, fmt.Errorf("a %T has no kind", value)
	}
	return b, nil
}
