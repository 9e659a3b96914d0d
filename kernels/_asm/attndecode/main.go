// Command attndecode generates the decode attention over the INT8 cache for kernels/attn.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// Offsets in the Go structs; a test of kernels/attn checks them.
const (
	pageBytes  = 96 // sizeof PageQS8: four slices
	pageK      = 0
	pageV      = 24
	pageKScale = 48
	pageVScale = 72
)

// Fields of headQS8, all 8 bytes.
const (
	argQ = 8 * iota
	argOut
	argPages
	argTable
	argKAt
	argVAt
	argSAt
	argFirst
	argLast
	argBlocks
	argFromBlock
	argPageBlocks
	argGroups
	argDim
	argPadDim
	argScale
	argQ8
	argScores
	argVScales
	argWeights
)

func main() {
	asm.Begin()
	attend(avx2{})
	attend(avx512{})
	Generate()
}

// kernel holds the registers that live through the whole function.
type kernel struct {
	name string
	a    reg.GPVirtual // *headQS8
}

func (k *kernel) load(field int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: k.a, Disp: field}, r)
	return r
}

func (k *kernel) label(s string) string { return k.name + "_" + s }

// wide is the part that differs between the instruction sets. A block is 16 positions.
type wide interface {
	name() string
	// scores computes a block's scores, masks them, stores them and folds them and the value scales into the maxima.
	scoreStart(k *kernel, c reg.VecVirtual) func(kp, ks, vs, q8, groups, out, outVS, index reg.GPVirtual)
	maxima() (best, m reg.VecVirtual) // 8 lanes each, after the last block
	exps(k *kernel, best reg.VecVirtual) (sum reg.VecVirtual)
	weights(k *kernel, z, u reg.VecVirtual)
	chunk(k *kernel, g reg.VecVirtual)
}

func attend(w wide) {
	k := &kernel{name: "attendQS8" + w.name()}
	TEXT(k.name, NOSPLIT, "func(a *uint64) bool")
	Doc(k.name+" is AttendQS8 for one head whose dimension is a multiple of 8 on pages of whole blocks; a points to a headQS8.", "",
		"It returns false, with nothing written to out, when a scale is zero or something is not finite.")
	k.a = asm.LoadInt("a")
	fail := k.label("fail")

	c := quantizeQuery(k, fail)
	k.scores(w, c)
	best8, m8 := w.maxima()
	best := hmax(best8)
	m := humax(m8)
	// The maximum of the value scales must be positive and finite.
	mi := GP32()
	VMOVD(m.AsX(), mi)
	TESTL(mi, mi)
	JZ(LabelRef(fail))
	CMPL(mi, U32(0x7f7fffff))
	JA(LabelRef(fail))

	sum := total(w.exps(k, best))
	VUCOMISS(sum.AsX(), sum.AsX())
	JPS(LabelRef(fail))
	one, full := XMM(), XMM()
	VMOVSS(f32(1), one)
	VMOVSS(f32(32767), full)
	z, u, g := YMM(), YMM(), YMM()
	VDIVSS(sum.AsX(), one, z.AsX())
	VDIVSS(m.AsX(), full, u.AsX())
	VDIVSS(full, m.AsX(), g.AsX())
	w.weights(k, z, u)
	w.chunk(k, g)
	ok, err := ReturnIndex(0).Resolve()
	if err != nil {
		panic(err)
	}
	MOVB(U8(1), ok.Addr)
	asm.Ret()
	Label(fail)
	MOVB(U8(0), ok.Addr)
	asm.Ret()
}

// quantizeQuery is vec.QuantizeRow into q8 and returns c = qs·Scale in lane 0. Rows that it would give the scale 0 or NaN
// fail.
func quantizeQuery(k *kernel, fail string) reg.VecVirtual {
	q, dim := k.load(argQ), k.load(argDim)
	p, n := GP64(), GP64()
	abs := YMM()
	VMOVUPS(bits(0x7fffffff), abs)
	a8 := YMM()
	VXORPS(a8, a8, a8)
	MOVQ(q, p)
	MOVQ(dim, n)
	Label(k.label("absmax"))
	t := YMM()
	VANDPS(Mem{Base: p}, abs, t)
	VPMAXUD(t, a8, a8)
	ADDQ(Imm(32), p)
	SUBQ(Imm(8), n)
	JNZ(LabelRef(k.label("absmax")))
	a := humax(a8)
	ai := GP32()
	VMOVD(a.AsX(), ai)
	CMPL(ai, U32(0x0d800000)) // 2^-100
	JB(LabelRef(fail))
	CMPL(ai, U32(0x7f7fffff))
	JA(LabelRef(fail))
	top, inv, c := XMM(), YMM(), YMM()
	VMOVSS(f32(127), top)
	VDIVSS(a.AsX(), top, inv.AsX())
	VDIVSS(top, a.AsX(), c.AsX())
	VMULSS(Mem{Base: k.a, Disp: argScale}, c.AsX(), c.AsX())
	VBROADCASTSS(inv.AsX(), inv)
	q8 := k.load(argQ8)
	Label(k.label("quantize"))
	x, half := YMM(), YMM()
	VMULPS(Mem{Base: q}, inv, x)
	VANDPS(bits(0x80000000), x, half)
	VORPS(f32(0.5), half, half)
	VADDPS(half, x, x)
	VCVTTPS2DQ(x, x)
	hi := XMM()
	VEXTRACTI128(Imm(1), x, hi)
	VPACKSSDW(hi, x.AsX(), x.AsX())
	VPACKSSWB(x.AsX(), x.AsX(), x.AsX())
	VMOVQ(x.AsX(), Mem{Base: q8})
	ADDQ(Imm(32), q)
	ADDQ(Imm(8), q8)
	SUBQ(Imm(8), dim)
	JNZ(LabelRef(k.label("quantize")))
	return c
}

// pages runs body for every run of blocks inside one page. It gives body the page and the number of its first block and
// expects it to work off count blocks.
func (k *kernel) pages(what string, body func(page, from, count reg.GPVirtual)) {
	table, left, from := k.load(argTable), k.load(argBlocks), k.load(argFromBlock)
	loop := k.label(what + "_page")
	Label(loop)
	page, count := GP64(), GP64()
	MOVLQSX(Mem{Base: table}, page)
	IMUL3Q(Imm(pageBytes), page, page)
	ADDQ(Mem{Base: k.a, Disp: argPages}, page)
	MOVQ(Mem{Base: k.a, Disp: argPageBlocks}, count)
	SUBQ(from, count)
	CMPQ(count, left)
	CMOVQGT(left, count)
	SUBQ(count, left)
	body(page, from, count)
	XORQ(from, from)
	ADDQ(Imm(4), table)
	TESTQ(left, left)
	JNZ(LabelRef(loop))
}

func (k *kernel) scores(w wide, c reg.VecVirtual) {
	out, outVS, index := k.load(argScores), k.load(argVScales), k.load(argFirst)
	ANDQ(I8(-16), index)
	block := w.scoreStart(k, c)
	k.pages("scores", func(page, from, count reg.GPVirtual) {
		kp, ks, vs, step := GP64(), GP64(), GP64(), GP64()
		groups := k.load(argGroups)
		MOVQ(groups, step)
		SHLQ(Imm(6), step) // bytes of a block of keys
		MOVQ(from, kp)
		IMULQ(step, kp)
		ADDQ(Mem{Base: page, Disp: pageK}, kp)
		ADDQ(Mem{Base: k.a, Disp: argKAt}, kp)
		MOVQ(from, ks)
		SHLQ(Imm(6), ks)
		ADDQ(Mem{Base: k.a, Disp: argSAt}, ks)
		MOVQ(ks, vs)
		ADDQ(Mem{Base: page, Disp: pageKScale}, ks)
		ADDQ(Mem{Base: page, Disp: pageVScale}, vs)
		Label(k.label("scores_block"))
		q8, n := k.load(argQ8), GP64()
		MOVQ(groups, n)
		block(kp, ks, vs, q8, n, out, outVS, index)
		ADDQ(Imm(64), ks)
		ADDQ(Imm(64), vs)
		ADDQ(Imm(64), out)
		ADDQ(Imm(64), outVS)
		ADDQ(Imm(16), index)
		DECQ(count)
		JNZ(LabelRef(k.label("scores_block")))
	})
}
