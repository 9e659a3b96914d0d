package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// graph is a graph under construction. Methods that add an operator return the name of its output.
type graph struct {
	nodes, initializers, inputs, outputs []message
	known                                map[string]bool // constants
	n                                    int
}

// op adds an operator with one output.
func (g *graph) op(kind string, inputs []string, attrs ...attr) string {
	return g.ops(kind, 1, inputs, attrs...)[0]
}

func (g *graph) ops(kind string, outputs int, inputs []string, attrs ...attr) []string {
	names := make([]string, outputs)
	for i := range names {
		names[i] = kind + "_" + strconv.Itoa(g.n)
		g.n++
	}
	g.named(kind, names, inputs, attrs...)
	return names
}

// named adds an operator whose outputs have their names already.
func (g *graph) named(kind string, outputs, inputs []string, attrs ...attr) {
	var m message
	for _, s := range inputs {
		m.text(1, s)
	}
	for _, s := range outputs {
		m.text(2, s)
	}
	m.text(3, "node_"+outputs[0])
	m.text(4, kind)
	for _, a := range attrs {
		m.bytes(5, a.proto())
	}
	g.nodes = append(g.nodes, m)
}

func (g *graph) tensor(name string, kind int64, dims []int, raw []byte) {
	g.initializers = append(g.initializers, tensorProto(name, kind, dims, raw))
}

func (g *graph) floats(name string, dims []int, v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	g.tensor(name, typeFloat, dims, raw)
	return name
}

// ints is a constant list of int64.
func (g *graph) ints(v ...int64) string {
	name := "ints"
	var raw []byte
	for _, x := range v {
		name += "_" + strconv.FormatInt(x, 10)
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	if !g.known[name] {
		g.known[name] = true
		g.tensor(name, typeInt64, []int{len(v)}, raw)
	}
	return name
}

// whole is a constant scalar of int64.
func (g *graph) whole(v int64) string {
	name := fmt.Sprintf("int_%d", v)
	if !g.known[name] {
		g.known[name] = true
		g.tensor(name, typeInt64, nil, binary.LittleEndian.AppendUint64(nil, uint64(v)))
	}
	return name
}

// float is a constant scalar of float32.
func (g *graph) float(v float32) string {
	name := fmt.Sprintf("float_%08x", math.Float32bits(v))
	if !g.known[name] {
		g.known[name] = true
		g.floats(name, nil, []float32{v})
	}
	return name
}

func (g *graph) add(a, b string) string { return g.op("Add", []string{a, b}) }
func (g *graph) sub(a, b string) string { return g.op("Sub", []string{a, b}) }
func (g *graph) mul(a, b string) string { return g.op("Mul", []string{a, b}) }

func (g *graph) reshape(x string, dims ...int64) string {
	return g.op("Reshape", []string{x, g.ints(dims...)})
}

func (g *graph) transpose(x string, perm ...int64) string {
	return g.op("Transpose", []string{x}, attr{"perm", perm})
}

// model is the file.
func (g *graph) model(metadata ...message) []byte {
	var body message
	list := func(field int, of []message) {
		for _, m := range of {
			body.bytes(field, m)
		}
	}
	list(1, g.nodes)
	body.text(2, "mito")
	list(5, g.initializers)
	list(11, g.inputs)
	list(12, g.outputs)
	var opset, m message
	opset.text(1, "")
	opset.number(2, 18)
	m.number(1, 8) // the version of the format that came with opset 18
	m.text(2, "mito")
	m.bytes(7, body)
	m.bytes(8, opset)
	for _, e := range metadata {
		m.bytes(14, e)
	}
	return m
}
