// Command kv generates the decode attention over the INT8 cache for kernels/kv.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// Offsets in the Go structs; a test of kernels/kv checks them.
const (
	pageBytes  = 96 // sizeof PageQS8: four slices
	pageK      = 0
	pageV      = 24
	pageKScale = 48
	pageVScale = 72
)

// Fields of attendQS8, all 8 bytes.
const (
	argQ = 8 * iota
	argOut
	argPages
	argTable
	argPlaces
	argFirst
	argLast
	argBlocks
	argFromBlock
	argPageBlocks
	argHeads
	argGroups
	argDim
	argPadDim
	argFactor // f32, and in its upper half the shift of the value scales
	argQ8
	argState
	argRecords
	argRecordStep
	argHead // scratch of the kernel: the head that is being worked on
)

// A head's place in a page: three offsets in bytes.
const (
	placeK     = 0
	placeV     = 8
	placeScale = 16
	placeBytes = 24
)

const argShift = argFactor + 4

// What a head hands from one phase to the next.
const (
	stateC    = 0 // qs·factor
	stateCorr = 4 // -128·Σ q8
	stateBest = 8
	stateM    = 12
	stateG    = 16
)

// A record is a block of 16 positions of a head.
const (
	recScores  = 0
	recVScales = 64
	recWeights = 128
	recBytes   = 192
)

func main() {
	asm.Begin()
	attend(avx2{})
	attend(avx512{})
	store()
	Generate()
}

// kernel holds what lives through the whole function.
type kernel struct {
	name string
	a    reg.GPVirtual // *attendQS8
	fail string
}

func (k *kernel) load(field int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: k.a, Disp: field}, r)
	return r
}

func (k *kernel) label(s string) string { return k.name + "_" + s }

// wide is the part that differs between the instruction sets.
type wide interface {
	name() string
	// scores begins a head and returns what computes a block's scores, masks them, stores them in the record and folds
	// them and the value scales into the maxima.
	scores(k *kernel, state reg.GPVirtual) func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual)
	maxima() (best, m, worst reg.VecVirtual) // 8 lanes each, after the last block; worst of the scores' magnitudes
	// weights puts the weights into the records and returns the sum of the powers in 8 lanes.
	weights(k *kernel, rec, blocks reg.GPVirtual, best, unit reg.VecVirtual) (sum reg.VecVirtual)
	weigh(k *kernel, state reg.GPVirtual)
}

// attend works in phases, each over all heads, so that the processor overlaps the long chains of several heads.
func attend(w wide) {
	k := &kernel{name: "attendQS8" + w.name()}
	k.fail = k.label("fail")
	TEXT(k.name, NOSPLIT, "func(a *uint64) bool")
	Doc(k.name+" is AttendQS8 for a head dimension that is a multiple of 8, on pages of whole blocks; a points to an attendQS8.", "",
		"It returns false, perhaps with part of out written, when all values are zero or something is not finite or too large.")
	k.a = asm.LoadInt("a")

	k.heads("quantize", func(state reg.GPVirtual) { k.quantizeQuery(state) })
	k.heads("scores", func(state reg.GPVirtual) {
		k.scores(w, state)
		best8, m8, worst8 := w.maxima()
		best := asm.Fold(best8, func(a, b, d reg.VecVirtual) { VPMAXSD(a, b, d) })
		m, worst := humax(m8), humax(worst8)
		VMOVD(best, Mem{Base: state, Disp: stateBest})
		VMOVD(m, Mem{Base: state, Disp: stateM})
		// The maximum of the value scales must be positive and below 2^100, all scores below 2^29.
		x := GP32()
		VMOVD(m, x)
		DECL(x)
		CMPL(x, U32(0x71800000-1))
		JAE(LabelRef(k.fail))
		VMOVD(worst, x)
		CMPL(x, U32(1<<29))
		JAE(LabelRef(k.fail))
	})
	k.heads("weights", func(state reg.GPVirtual) {
		// m is f·2^(b-127), 1 ≤ f < 2: the unit is 2^(14-shift+127-b), and 2^15 over it 2^(1+shift+b-127).
		b, x := GP32(), GP32()
		unit, best, grain, z := YMM(), YMM(), XMM(), XMM()
		MOVL(Mem{Base: state, Disp: stateM}, b)
		SHRL(Imm(23), b)
		ADDL(Mem{Base: k.a, Disp: argShift}, b)
		MOVL(U32(268), x)
		SUBL(b, x)
		SHLL(Imm(23), x)
		VMOVD(x, unit.AsX())
		VBROADCASTSS(unit.AsX(), unit)
		INCL(b)
		SHLL(Imm(23), b)
		VMOVD(b, grain)
		VMOVD(Mem{Base: state, Disp: stateBest}, best.AsX())
		sum := w.weights(k, k.record(), k.load(argBlocks), best, unit)
		VCVTDQ2PS(asm.Fold(sum, func(a, b, d reg.VecVirtual) { VPADDD(a, b, d) }), z)
		VDIVSS(z, grain, grain)
		VMOVSS(grain, Mem{Base: state, Disp: stateG})
	})
	k.heads("weigh", func(state reg.GPVirtual) { w.weigh(k, state) })
	ok := asm.Result()
	MOVB(U8(1), ok)
	asm.Ret()
	Label(k.fail)
	MOVB(U8(0), ok)
	asm.Ret()
}

// heads runs a phase for every head.
func (k *kernel) heads(what string, phase func(state reg.GPVirtual)) {
	MOVQ(U32(0), Mem{Base: k.a, Disp: argHead})
	Label(k.label(what + "_head"))
	state := k.load(argHead)
	SHLQ(Imm(5), state)
	ADDQ(Mem{Base: k.a, Disp: argState}, state)
	phase(state)
	h := k.load(argHead)
	INCQ(h)
	MOVQ(h, Mem{Base: k.a, Disp: argHead})
	CMPQ(h, Mem{Base: k.a, Disp: argHeads})
	JL(LabelRef(k.label(what + "_head")))
}

// scaled returns field step·head + the pointer base.
func (k *kernel) scaled(base, step int) reg.GPVirtual {
	p := k.load(argHead)
	IMULQ(Mem{Base: k.a, Disp: step}, p)
	ADDQ(Mem{Base: k.a, Disp: base}, p)
	return p
}

// record points to the head's first record, row to its first element of q or out, query to its quantised query.
func (k *kernel) record() reg.GPVirtual { return k.scaled(argRecords, argRecordStep) }

func (k *kernel) row(base int) reg.GPVirtual {
	p := k.load(argHead)
	IMULQ(Mem{Base: k.a, Disp: argDim}, p)
	SHLQ(Imm(2), p)
	ADDQ(Mem{Base: k.a, Disp: base}, p)
	return p
}

func (k *kernel) query() reg.GPVirtual { return k.scaled(argQ8, argDim) }

// place returns one of the head's offsets in a page.
func (k *kernel) place(which int) reg.GPVirtual {
	p := k.load(argHead)
	IMUL3Q(Imm(placeBytes), p, p)
	ADDQ(Mem{Base: k.a, Disp: argPlaces}, p)
	MOVQ(Mem{Base: p, Disp: which}, p)
	return p
}

// quantizeQuery is vec.QuantizeRow. Rows that it would give the scale NaN fail.
func (k *kernel) quantizeQuery(state reg.GPVirtual) {
	q, q8, dim := k.row(argQ), k.query(), k.load(argDim)
	inv, qs := quantScales(k.label("absmax"), q, dim, k.fail)
	VMULSS(Mem{Base: k.a, Disp: argFactor}, qs.AsX(), qs.AsX())
	VMOVSS(qs.AsX(), Mem{Base: state, Disp: stateC})
	sum := YMM()
	VPXOR(sum, sum, sum)
	Label(k.label("quantize"))
	x := quantize8(q, inv)
	VPADDD(x, sum, sum)
	pack8(x)
	VMOVQ(x.AsX(), Mem{Base: q8})
	ADDQ(Imm(32), q)
	ADDQ(Imm(8), q8)
	SUBQ(Imm(8), dim)
	JNZ(LabelRef(k.label("quantize")))
	s := asm.Fold(sum, func(a, b, d reg.VecVirtual) { VPADDD(a, b, d) })
	zero := XMM()
	VPXOR(zero, zero, zero)
	VPSLLD(Imm(7), s, s)
	VPSUBD(s, zero, s)
	VMOVD(s, Mem{Base: state, Disp: stateCorr})
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

func (k *kernel) scores(w wide, state reg.GPVirtual) {
	rec, index := k.record(), k.load(argFirst)
	ANDQ(I8(-16), index)
	block := w.scores(k, state)
	k.pages("scores", func(page, from, count reg.GPVirtual) {
		kp, ks, vs := k.place(placeK), k.place(placeScale), GP64()
		step := k.load(argGroups)
		SHLQ(Imm(6), step) // bytes of a block of keys
		IMULQ(from, step)
		ADDQ(step, kp)
		ADDQ(Mem{Base: page, Disp: pageK}, kp)
		SHLQ(Imm(6), from)
		ADDQ(from, ks)
		MOVQ(ks, vs)
		ADDQ(Mem{Base: page, Disp: pageKScale}, ks)
		ADDQ(Mem{Base: page, Disp: pageVScale}, vs)
		Label(k.label("scores_block"))
		q8, n := k.query(), k.load(argGroups)
		block(kp, ks, vs, q8, n, rec, index)
		ADDQ(Imm(64), ks)
		ADDQ(Imm(64), vs)
		ADDQ(U32(recBytes), rec)
		ADDQ(Imm(16), index)
		DECQ(count)
		JNZ(LabelRef(k.label("scores_block")))
	})
}

// weighPages runs over 16 dimensions at a time: start clears the sums, block adds a block of 16 positions, finish stores.
func (k *kernel) weighPages(start func(), block func(v, w, row reg.GPVirtual), finish func(out, left reg.GPVirtual)) {
	out, left, at := k.row(argOut), k.load(argDim), k.place(placeV)
	row := k.load(argPadDim)
	SHLQ(Imm(1), row)
	Label(k.label("chunk"))
	start()
	w := k.record()
	ADDQ(U32(recWeights), w)
	k.pages("weigh", func(page, from, count reg.GPVirtual) {
		v := GP64()
		MOVQ(from, v)
		IMULQ(row, v)
		SHLQ(Imm(3), v)
		ADDQ(Mem{Base: page, Disp: pageV}, v)
		ADDQ(at, v)
		Label(k.label("weigh_block"))
		block(v, w, row)
		ADDQ(U32(recBytes), w)
		DECQ(count)
		JNZ(LabelRef(k.label("weigh_block")))
	})
	finish(out, left)
	ADDQ(Imm(32), at)
	ADDQ(Imm(64), out)
	SUBQ(Imm(16), left)
	JG(LabelRef(k.label("chunk")))
}

// store8 stores the first 8 and, if more than 8 are left, the other 8 sums in real numbers.
func (k *kernel) store8(lo, hi, unit reg.VecVirtual, out, left reg.GPVirtual) {
	VCVTDQ2PS(lo, lo)
	VMULPS(unit, lo, lo)
	VMOVUPS(lo, Mem{Base: out})
	CMPQ(left, Imm(8))
	JLE(LabelRef(k.label("stored")))
	VCVTDQ2PS(hi, hi)
	VMULPS(unit, hi, hi)
	VMOVUPS(hi, Mem{Base: out, Disp: 32})
	Label(k.label("stored"))
}
