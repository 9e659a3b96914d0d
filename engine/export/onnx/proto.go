package onnx

import (
	"encoding/binary"
	"math"
)

// message is a protobuf message under construction.
type message []byte

func (m *message) tag(field, wire int) {
	*m = binary.AppendUvarint(*m, uint64(field<<3|wire))
}

// Wire types.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

func (m *message) number(field int, v int64) {
	m.tag(field, wireVarint)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) bytes(field int, b []byte) {
	m.tag(field, wireBytes)
	*m = append(binary.AppendUvarint(*m, uint64(len(b))), b...)
}

func (m *message) text(field int, s string) { m.bytes(field, []byte(s)) }

func (m *message) float(field int, v float32) {
	m.tag(field, wire32)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

// Element types of TensorProto.
const (
	typeFloat = 1
	typeInt8  = 3
	typeInt64 = 7
)

// tensorProto is an initializer.
func tensorProto(name string, kind int64, dims []int, raw []byte) message {
	var m message
	for _, d := range dims {
		m.number(1, int64(d))
	}
	m.number(2, kind)
	m.text(8, name)
	m.bytes(9, raw)
	return m
}

// valueInfo is an input or output. Dimensions are int or, where they are free, the name of one.
func valueInfo(name string, kind int64, dims ...any) message {
	var shape message
	for _, d := range dims {
		var dim message
		switch d := d.(type) {
		case int:
			dim.number(1, int64(d))
		case string:
			dim.text(2, d)
		}
		shape.bytes(1, dim)
	}
	var tensor, typ, m message
	tensor.number(1, kind)
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	m.text(1, name)
	m.bytes(2, typ)
	return m
}

// attr is an attribute of a node: int64, float32 or []int64.
type attr struct {
	name  string
	value any
}

func (a attr) proto() message {
	var m message
	m.text(1, a.name)
	switch v := a.value.(type) {
	case float32:
		m.float(2, v)
		m.number(20, 1)
	case int64:
		m.number(3, v)
		m.number(20, 2)
	case []int64:
		for _, x := range v {
			m.number(8, x)
		}
		m.number(20, 7)
	}
	return m
}

// entry is a key with a value of metadata_props.
func entry(key, value string) message {
	var m message
	m.text(1, key)
	m.text(2, value)
	return m
}
