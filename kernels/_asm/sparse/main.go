// Command sparse generates the block-sparse INT8 products of kernels/sparse.
package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

const (
	blockBytes = 32
	sliceRows  = 8 // block rows worked on together, an accumulator each
)

func main() {
	asm.Begin()
	product("mulQS8AVX2", signed)
	product("mulQU8AVX2", unsigned)
	product("mulQS8AVXVNNI", vnni)
	tileAVX512()
	asm.GenerateVEX()
}

// A method adds the products of the 32 weights at w with eight activations, four times over in x, to acc.
type method func() (offset bool, add func(w Mem, x Mem, acc reg.VecVirtual))

func signed() (bool, func(w, x Mem, acc reg.VecVirtual)) {
	one := asm.Ones16()
	return false, func(w, x Mem, acc reg.VecVirtual) {
		xv, ax, t := YMM(), YMM(), YMM()
		VPBROADCASTQ(x, xv)
		VPABSB(xv, ax)
		VMOVDQU(w, t)
		VPSIGNB(xv, t, t)
		VPMADDUBSW(t, ax, t)
		VPMADDWD(one, t, t)
		VPADDD(t, acc, acc)
	}
}

func unsigned() (bool, func(w, x Mem, acc reg.VecVirtual)) {
	one := asm.Ones16()
	return false, func(w, x Mem, acc reg.VecVirtual) {
		t := YMM()
		VPBROADCASTQ(x, t)
		VPMADDUBSW(w, t, t)
		VPMADDWD(one, t, t)
		VPADDD(t, acc, acc)
	}
}

// vnni offsets the activations by 128; the correction is added at the end.
func vnni() (bool, func(w, x Mem, acc reg.VecVirtual)) {
	flip := YMM()
	VPCMPEQB(flip, flip, flip)
	VPSLLW(Imm(7), flip, flip)
	VPACKSSWB(flip, flip, flip) // 0xff80 saturates to 0x80
	return true, func(w, x Mem, acc reg.VecVirtual) {
		t := YMM()
		VPBROADCASTQ(x, t)
		VPXOR(flip, t, t)
		v := YMM()
		VMOVDQU(w, v)
		VPDPBUSD(v, t, acc)
	}
}

func product(name string, m method) {
	TEXT(name, NOSPLIT, signature)
	document(name)
	acc0, w, index, steps := asm.LoadInt("acc"), asm.LoadInt("w"), asm.LoadInt("index"), asm.LoadInt("steps")
	rows, corr, x, slices := asm.LoadInt("places"), asm.LoadInt("corr"), asm.LoadInt("x"), asm.LoadInt("slices")
	adding := asm.LoadInt("add")
	offset, add := m()
	label := func(s string) string { return fmt.Sprintf("%s_%s", name, s) }

	Label(label("slice"))
	acc := asm.ZeroY(sliceRows)
	n := GP64()
	MOVL(Mem{Base: steps}, n.As32())
	TESTL(n.As32(), n.As32())
	JZ(LabelRef(label("store")))
	Label(label("step"))
	for i := range sliceRows {
		c := GP64()
		MOVWLZX(Mem{Base: index, Disp: 2 * i}, c.As32())
		add(Mem{Base: w, Disp: blockBytes * i}, Mem{Base: x, Index: c, Scale: 8}, acc[i])
	}
	ADDQ(U32(blockBytes*sliceRows), w)
	ADDQ(Imm(2*sliceRows), index)
	DECQ(n)
	JNZ(LabelRef(label("step")))

	// A row has two neighbouring lanes: add them, for two block rows at a time.
	Label(label("store"))
	scatter(acc0, rows, adding, sliceRows/2, label, func(i int) reg.VecVirtual {
		a := acc[2*i]
		VPHADDD(acc[2*i+1], a, a)
		VPERMQ(Imm(0xd8), a, a)
		if offset {
			VPADDD(Mem{Base: corr, Disp: 32 * i}, a, a)
		}
		return a
	})
	ADDQ(Imm(4), steps)
	ADDQ(Imm(4*sliceRows), rows)
	ADDQ(U32(16*sliceRows), corr)
	DECQ(slices)
	JNZ(LabelRef(label("slice")))
	asm.Ret()
}

const signature = "func(acc *int32, w *int8, index *uint16, steps, places, corr *int32, x *int8, k, slices, add int)"

func document(name string) {
	Doc(name+" computes the sums of slices · 32 weight rows with k columns of one activation row, and adds them to acc if add is 1.", "",
		"Slice s has steps[s] steps of eight blocks; its eight block rows go to acc[2·places[8·s+i]:]. slices is positive.")
}

// scatter stores the sums of pairs of block rows, or adds them, at the places rows says. sum computes those of pair i.
func scatter(acc0, rows, adding reg.Register, pairs int, label func(string) string, sum func(i int) reg.VecVirtual) {
	place := func(i int) Mem {
		r := GP64()
		MOVLQZX(Mem{Base: rows, Disp: 4 * i}, r)
		return Mem{Base: acc0, Index: r, Scale: 8}
	}
	var y []reg.VecVirtual
	for i := range pairs {
		y = append(y, sum(i))
	}
	TESTQ(adding, adding)
	JNZ(LabelRef(label("add")))
	for i, a := range y {
		VMOVDQU(a.AsX(), place(2*i))
		VEXTRACTI128(Imm(1), a, place(2*i+1))
	}
	JMP(LabelRef(label("next")))
	Label(label("add"))
	for i, a := range y {
		lo, up, hi := place(2*i), place(2*i+1), XMM()
		VEXTRACTI128(Imm(1), a, hi)
		VPADDD(lo, a.AsX(), a.AsX())
		VPADDD(up, hi, hi)
		VMOVDQU(a.AsX(), lo)
		VMOVDQU(hi, up)
	}
	Label(label("next"))
}

// tileAVX512 keeps the activations of a tile, offset by 128, in two registers and permutes the groups of eight that a
// pair of blocks needs into place.
func tileAVX512() {
	const name = "mulQS8AVX512VNNI"
	TEXT(name, NOSPLIT, signature)
	document(name)
	acc0, w, index, steps := asm.LoadInt("acc"), asm.LoadInt("w"), asm.LoadInt("index"), asm.LoadInt("steps")
	rows, corr, slices, adding := asm.LoadInt("places"), asm.LoadInt("corr"), asm.LoadInt("slices"), asm.LoadInt("add")
	x, k := asm.LoadInt("x"), asm.LoadInt("k")
	label := func(s string) string { return fmt.Sprintf("%s_%s", name, s) }

	// Masks of the k/8 groups that exist.
	flip, x0, x1 := ZMM(), ZMM(), ZMM()
	bit, count := GP64(), k
	SHRQ(Imm(3), count)
	XORQ(bit, bit)
	BTSQ(count, bit)
	DECQ(bit)
	m0, m1 := K(), K()
	KMOVW(bit.As32(), m0)
	SHRQ(Imm(8), bit)
	KMOVW(bit.As32(), m1)
	t := GP32()
	MOVL(U32(0x80808080), t)
	VPBROADCASTD(t, flip)
	VMOVDQU64_Z(Mem{Base: x}, m0, x0)
	VMOVDQU64_Z(Mem{Base: x, Disp: 64}, m1, x1)
	VPXORD(flip, x0, x0)
	VPXORD(flip, x1, x1)
	var order [sliceRows / 2]reg.VecVirtual
	for i := range order {
		order[i] = ZMM()
		VMOVDQU64(pairOrder(i), order[i])
	}

	Label(label("slice"))
	acc := asm.ZeroZ(sliceRows / 2)
	n := GP64()
	MOVL(Mem{Base: steps}, n.As32())
	TESTL(n.As32(), n.As32())
	JZ(LabelRef(label("store")))
	Label(label("step"))
	columns := ZMM()
	VBROADCASTI32X4(Mem{Base: index}, columns)
	for i := range acc {
		at := ZMM()
		VPSHUFB(order[i], columns, at)
		VPERMI2Q(x1, x0, at)
		VPDPBUSD(Mem{Base: w, Disp: 2 * blockBytes * i}, at, acc[i])
	}
	ADDQ(U32(blockBytes*sliceRows), w)
	ADDQ(Imm(2*sliceRows), index)
	DECQ(n)
	JNZ(LabelRef(label("step")))
	Label(label("store"))
	scatter(acc0, rows, adding, len(acc), label, func(i int) reg.VecVirtual {
		s, y := ZMM(), YMM()
		VPSRLQ(Imm(32), acc[i], s)
		VPADDD(s, acc[i], s)
		VPMOVQD(s, y)
		VPADDD(Mem{Base: corr, Disp: 32 * i}, y, y)
		return y
	})
	ADDQ(Imm(4), steps)
	ADDQ(Imm(4*sliceRows), rows)
	ADDQ(U32(16*sliceRows), corr)
	DECQ(slices)
	JNZ(LabelRef(label("slice")))
	asm.Ret()
}

// pairOrder picks from eight 16-bit columns, in every 128-bit lane, those of blocks 2i (lower half) and 2i+1 (upper).
func pairOrder(i int) Mem {
	m := GLOBL(fmt.Sprintf("pairOrder%d", i), attr.RODATA|attr.NOPTR)
	for lane := range 8 {
		word := 2*i + lane/4
		DATA(8*lane, U64(0x8080808080800000|uint64(2*word+1)<<8|uint64(2*word)))
	}
	return m
}
