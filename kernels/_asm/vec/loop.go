package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/vecops"
)

// kernel is a function under construction: a loop over whole vectors and a masked tail.
type kernel struct {
	*target
	name  string
	n, i  reg.GPVirtual
	bases map[string]reg.GPVirtual
	tail  bool
	mask  V                 // AVX2: ones in the lanes of the tail
	kmask reg.OpmaskVirtual // AVX-512: the same
}

// begin declares a function of which the first slice gives the length. goLoop is the Go statement that the stub equals.
func begin(t *target, name, signature, length, goLoop string, slices ...string) *kernel {
	k := &kernel{target: t, name: name + t.suffix, bases: map[string]reg.GPVirtual{}}
	TEXT(k.name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(k.name+" equals "+goLoop+".", "", "The slices are at least as long as "+length+".")
	for _, s := range slices {
		k.bases[s] = Load(Param(s).Base(), GP64()).(reg.GPVirtual)
	}
	k.n = Load(Param(length).Len(), GP64()).(reg.GPVirtual)
	return k
}

// scalar broadcasts a float32 parameter.
func (k *kernel) scalar(name string) V {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	x, v := XMM(), k.vec()
	VMOVSS(p.Addr, x)
	VBROADCASTSS(x, v)
	return v
}

// hoisted coefficients stay in registers; the loop needs the others for itself.
const hoisted = 5

// coefficients returns the n floats at parameter c.
func (k *kernel) coefficients(n int) []vecops.V {
	c := Load(Param("c"), GP64())
	s := make([]vecops.V, n)
	for i := range s {
		s[i] = coefficient{Mem{Base: c, Disp: 4 * i}}
		if i < hoisted {
			s[i] = k.operand(s[i])
		}
	}
	return s
}

func (k *kernel) at(base string) Mem { return Mem{Base: k.bases[base], Index: k.i, Scale: 4} }

// load reads the next vector of a slice of four-byte elements; lanes beyond the end are zero.
func (k *kernel) load(base string) V {
	v := k.vec()
	switch {
	case !k.tail:
		VMOVUPS(k.at(base), v)
	case k.wide():
		VMOVUPS_Z(k.at(base), k.kmask, v)
	default:
		VMASKMOVPS(k.at(base), k.mask, v)
	}
	return v
}

func (k *kernel) store(v V, base string) {
	switch {
	case !k.tail:
		VMOVUPS(v, k.at(base))
	case k.wide():
		VMOVUPS(v, k.kmask, k.at(base))
	default:
		VMASKMOVPS(v, k.mask, k.at(base))
	}
}

// accumulate adds v to eight lanes, elements 0-7 first; lanes beyond the end add +0.
func (k *kernel) accumulate(v, lanes V) {
	if !k.wide() {
		if k.tail {
			d := k.vec()
			VANDPS(k.mask, v, d)
			v = d
		}
		VADDPS(v, lanes, lanes)
		return
	}
	if k.tail {
		d := k.vec()
		VMOVAPS_Z(v, k.kmask, d)
		v = d
	}
	VADDPS(v.AsY(), lanes, lanes)
	high := YMM()
	VEXTRACTF32X8(U8(1), v, high)
	VADDPS(high, lanes, lanes)
}

func (k *kernel) atNext(base string, h int) Mem {
	m := k.at(base)
	m.Disp = 4 * k.width * h
	return m
}

func (k *kernel) loadAt(base string, h int) V {
	v := k.vec()
	VMOVUPS(k.atNext(base, h), v)
	return v
}

// pairs runs body over pairs of vectors as long as there are; each does the rest.
func (k *kernel) pairs(body func()) {
	k.i = GP64()
	XORQ(k.i, k.i)
	next := GP64()
	Label(k.name + "_pairs")
	LEAQ(Mem{Base: k.i, Disp: 2 * k.width}, next)
	CMPQ(next, k.n)
	JA(LabelRef(k.name + "_singles"))
	body()
	MOVQ(next, k.i)
	JMP(LabelRef(k.name + "_pairs"))
	Label(k.name + "_singles")
}

// each runs body over all vectors that pairs has left.
func (k *kernel) each(body func()) { k.pass("", body) }

// pass is each for functions that go over their slices more than once, with a name for the pass.
func (k *kernel) pass(name string, body func()) {
	if k.i == nil {
		k.i = GP64()
		XORQ(k.i, k.i)
	}
	name = k.name + name
	full := GP64()
	MOVQ(k.n, full)
	ANDQ(I8(int8(-k.width)), full)
	tail, done := name+"_tail", name+"_done"
	CMPQ(k.i, full)
	JAE(LabelRef(tail))
	Label(name + "_loop")
	body()
	ADDQ(Imm(uint64(k.width)), k.i)
	CMPQ(k.i, full)
	JB(LabelRef(name + "_loop"))
	Label(tail)
	rest := GP64()
	MOVQ(k.n, rest)
	SUBQ(k.i, rest)
	JZ(LabelRef(done))
	k.tail = true
	if k.wide() {
		ones := GP32()
		MOVL(U32(0xffffffff), ones)
		BZHIL(rest.As32(), ones, ones)
		k.kmask = K()
		KMOVW(ones, k.kmask)
	} else {
		table := GP64()
		LEAQ(tailMaskTable(), table)
		NEGQ(rest)
		k.mask = YMM()
		VMOVUPS(Mem{Base: table, Index: rest, Scale: 4, Disp: 32}, k.mask)
	}
	body()
	Label(done)
	k.i, k.tail = nil, false
}

// total adds the lanes in the stated tree and returns the sum from the function.
func (k *kernel) total(l V) {
	a, b := XMM(), XMM()
	VEXTRACTF128(Imm(1), l, a)
	VADDPS(a, l.AsX(), a)
	VMOVHLPS(a, a, b)
	VADDPS(b, a, a)
	VMOVSHDUP(a, b)
	VADDSS(b, a, a)
	k.ret(a)
}

// ret returns a scalar. The store is a legacy SSE instruction, so the upper halves are cleared before it.
func (k *kernel) ret(x reg.Register) {
	VZEROUPPER()
	Store(x, ReturnIndex(0))
	RET()
}
