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
	sliceRows  = 8 // block rows worked on together
	quadBytes  = 4 * blockBytes
)

func main() {
	asm.Begin()
	product("mulQS8AVX2", signed)
	product("mulQU8AVX2", unsigned)
	product("mulQS8AVXVNNI", vnni)
	tileAVX512()
	asm.GenerateVEX()
}

// A method multiplies blocks: x prepares the eight activations at xa for the lower 128 bits and those at xb for the upper,
// each there twice, and add adds their products with the 32 weights at w to acc.
type method struct {
	offset bool // the sums need their correction
	x      func(xa, xb Mem) []reg.VecVirtual
	add    func(w Mem, x []reg.VecVirtual, acc reg.VecVirtual)
}

// halves joins two groups of eight activations in a register. A broadcast from memory costs a load only.
func halves(xa, xb Mem) reg.VecVirtual {
	a, b := YMM(), YMM()
	VPBROADCASTQ(xa, a)
	VPBROADCASTQ(xb, b)
	VPBLENDD(Imm(0xf0), b, a, a)
	return a
}

func signed() method {
	one := asm.Ones16()
	return method{
		x: func(xa, xb Mem) []reg.VecVirtual {
			v, abs := halves(xa, xb), YMM()
			VPABSB(v, abs)
			return []reg.VecVirtual{v, abs}
		},
		add: func(w Mem, x []reg.VecVirtual, acc reg.VecVirtual) {
			t := YMM()
			VMOVDQU(w, t)
			VPSIGNB(x[0], t, t)
			VPMADDUBSW(t, x[1], t)
			VPMADDWD(one, t, t)
			VPADDD(t, acc, acc)
		},
	}
}

func unsigned() method {
	one := asm.Ones16()
	return method{
		x: func(xa, xb Mem) []reg.VecVirtual { return []reg.VecVirtual{halves(xa, xb)} },
		add: func(w Mem, x []reg.VecVirtual, acc reg.VecVirtual) {
			t := YMM()
			VPMADDUBSW(w, x[0], t)
			VPMADDWD(one, t, t)
			VPADDD(t, acc, acc)
		},
	}
}

// vnni offsets the activations by 128; the correction is added at the end.
func vnni() method {
	flip := YMM()
	VPCMPEQB(flip, flip, flip)
	VPSLLW(Imm(7), flip, flip)
	VPACKSSWB(flip, flip, flip) // 0xff80 saturates to 0x80
	return method{
		offset: true,
		x: func(xa, xb Mem) []reg.VecVirtual {
			v := halves(xa, xb)
			VPXOR(flip, v, v)
			return []reg.VecVirtual{v}
		},
		add: func(w Mem, x []reg.VecVirtual, acc reg.VecVirtual) {
			v := YMM()
			VMOVDQU(w, v)
			VPDPBUSD(v, x[0], acc)
		},
	}
}

func product(name string, start func() method) {
	TEXT(name, NOSPLIT, signature)
	document(name)
	w, index, steps, places, corr := arrays()
	acc0, x, slices, adding := asm.LoadInt("acc"), asm.LoadInt("x"), asm.LoadInt("slices"), asm.LoadInt("add")
	m := start()
	label := func(s string) string { return fmt.Sprintf("%s_%s", name, s) }

	Label(label("slice"))
	acc := asm.ZeroY(sliceRows) // those of rows 0 and 2 and those of rows 1 and 3 of each pair of block rows
	loops(w, index, steps, label, func(pairs int) {
		// Four columns at a load: the units for loads are the busiest.
		var columns reg.GPVirtual
		next := func() Mem {
			c := GP64()
			MOVWLZX(columns.As16(), c.As32())
			SHRQ(Imm(16), columns)
			return Mem{Base: x, Index: c, Scale: 8}
		}
		for pair := range pairs {
			if pair%2 == 0 {
				columns = GP64()
				MOVQ(Mem{Base: index, Disp: 4 * pair}, columns)
			}
			xs := m.x(next(), next())
			at := pair/2*quadBytes + pair%2*32
			m.add(Mem{Base: w, Disp: at}, xs, acc[2*pair])
			m.add(Mem{Base: w, Disp: at + quadBytes/2}, xs, acc[2*pair+1])
		}
	})

	// A row has two neighbouring lanes: rows 0 and 2 gather in the lower of them, rows 1 and 3 in the upper.
	scatter(acc0, places, adding, 2, sliceRows/2, label, func(i int) reg.VecVirtual {
		even, odd, t := acc[2*i], acc[2*i+1], YMM()
		VPSRLQ(Imm(32), even, t)
		VPADDD(t, even, even)
		VPSLLQ(Imm(32), odd, t)
		VPADDD(t, odd, odd)
		VPBLENDD(Imm(0xaa), odd, even, even)
		if m.offset {
			VPADDD(Mem{Base: corr, Disp: 32 * i}, even, even)
		}
		return even
	})
	ADDQ(Imm(8), steps)
	ADDQ(Imm(4*sliceRows), places)
	ADDQ(U32(16*sliceRows), corr)
	DECQ(slices)
	JNZ(LabelRef(label("slice")))
	asm.Ret()
}

// loops adds the blocks of a slice, step by step: first all of its block rows, then the first half of them, which have more.
func loops(w, index, steps reg.Register, label func(string) string, step func(pairs int)) {
	for i, pairs := range []int{sliceRows / 2, sliceRows / 4} {
		name := label([]string{"both", "one"}[i])
		n := GP64()
		MOVL(Mem{Base: steps, Disp: 4 * i}, n.As32())
		TESTL(n.As32(), n.As32())
		JZ(LabelRef(name + "_done"))
		Label(name)
		step(pairs)
		ADDQ(U32(uint32(2*blockBytes*pairs)), w)
		ADDQ(Imm(uint64(4*pairs)), index)
		DECQ(n)
		JNZ(LabelRef(name))
		Label(name + "_done")
	}
}

const signature = "func(acc *int32, at *[5]*byte, x *int8, k, slices, add int)"

// arrays returns where weights, columns, steps, places and corrections begin, to which at points in this order.
func arrays() (w, index, steps, places, corr reg.Register) {
	at := asm.LoadInt("at")
	load := func(i int) reg.Register {
		r := GP64()
		MOVQ(Mem{Base: at, Disp: 8 * i}, r)
		return r
	}
	return load(0), load(1), load(2), load(3), load(4)
}

func document(name string) {
	Doc(name+" computes the sums of slices · 32 weight rows with k columns of one activation row, and adds them to acc if add is 1.", "",
		"Slice s has steps[2·s] steps of eight blocks and steps[2·s+1] of four; its eight block rows go to acc[2·places[8·s+i]:]. slices is positive.",
		"at points to w, index, steps, places and corr of the first slice.")
}

// scatter stores the sums of groups of block rows, or adds them, at the places rows says. sum computes those of group i.
func scatter(acc0, rows, adding reg.Register, size, groups int, label func(string) string, sum func(i int) reg.VecVirtual) {
	var two reg.GPVirtual
	place := func(i int) Mem {
		r := GP64()
		switch {
		case size == 2:
			MOVLQZX(Mem{Base: rows, Disp: 4 * i}, r)
		case i%2 == 0: // two at a load
			two = GP64()
			MOVQ(Mem{Base: rows, Disp: 4 * i}, two)
			MOVL(two.As32(), r.As32())
		default:
			MOVQ(two, r)
			SHRQ(Imm(32), r)
		}
		return Mem{Base: acc0, Index: r, Scale: 8}
	}
	var y []reg.VecVirtual
	for i := range groups {
		y = append(y, sum(i))
	}
	TESTQ(adding, adding)
	JNZ(LabelRef(label("add")))
	for i, a := range y {
		VMOVDQU(a.AsX(), place(size*i))
		for lane := 1; lane < size; lane++ {
			extract(lane, size, a, place(size*i+lane))
		}
	}
	JMP(LabelRef(label("next")))
	Label(label("add"))
	for i, a := range y {
		for lane := range size {
			at, t, old := place(size*i+lane), XMM(), a.AsX()
			if lane > 0 {
				extract(lane, size, a, t)
				old = t
			}
			VPADDD(at, old, t)
			VMOVDQU(t, at)
		}
	}
	Label(label("next"))
}

// extract moves 128 bits of a register of size times as many to dst.
func extract(lane, size int, a reg.VecVirtual, dst Op) {
	if size == 2 {
		VEXTRACTI128(Imm(uint64(lane)), a, dst)
	} else {
		VEXTRACTI32X4(Imm(uint64(lane)), a, dst)
	}
}

// tileAVX512 keeps the activations of a tile, offset by 128, in two registers and permutes the groups of eight that four
// blocks need into place.
func tileAVX512() {
	const name = "mulQS8AVX512VNNI"
	TEXT(name, NOSPLIT, signature)
	document(name)
	w, index, steps, places, corr := arrays()
	acc0, slices, adding := asm.LoadInt("acc"), asm.LoadInt("slices"), asm.LoadInt("add")
	x, k := asm.LoadInt("x"), asm.LoadInt("k")
	label := func(s string) string { return fmt.Sprintf("%s_%s", name, s) }

	// Masks of the k/8 groups that exist.
	flip, x0, x1 := ZMM(), ZMM(), ZMM()
	bit, count := GP64(), k
	SHRQ(Imm(3), count)
	XORQ(bit, bit)
	BTSQ(count, bit)
	DECQ(bit)
	m0, m1, upper := K(), K(), K()
	KMOVW(bit.As32(), m0)
	SHRQ(Imm(8), bit)
	KMOVW(bit.As32(), m1)
	t := GP32()
	MOVL(U32(0xaaaa), t)
	KMOVW(t, upper)
	MOVL(U32(0x80808080), t)
	VPBROADCASTD(t, flip)
	VMOVDQU64_Z(Mem{Base: x}, m0, x0)
	VMOVDQU64_Z(Mem{Base: x, Disp: 64}, m1, x1)
	VPXORD(flip, x0, x0)
	VPXORD(flip, x1, x1)
	var order [sliceRows / 4]reg.VecVirtual
	for i := range order {
		order[i] = ZMM()
		VMOVDQU64(quadOrder(i), order[i])
	}

	Label(label("slice"))
	acc := asm.ZeroZ(sliceRows / 2)
	loops(w, index, steps, label, func(pairs int) {
		columns := ZMM()
		if pairs == sliceRows/2 {
			VBROADCASTI32X4(Mem{Base: index}, columns)
		} else {
			VPBROADCASTQ(Mem{Base: index}, columns)
		}
		for i := range pairs / 2 {
			at := ZMM()
			VPSHUFB(order[i], columns, at)
			VPERMI2Q(x1, x0, at)
			VPDPBUSD(Mem{Base: w, Disp: quadBytes * i}, at, acc[2*i])
			VPDPBUSD(Mem{Base: w, Disp: quadBytes*i + quadBytes/2}, at, acc[2*i+1])
		}
	})
	scatter(acc0, places, adding, 4, sliceRows/4, label, func(i int) reg.VecVirtual {
		even, odd, t := acc[2*i], acc[2*i+1], ZMM()
		VPSRLQ(Imm(32), even, t)
		VPADDD(t, even, even)
		VPSLLQ(Imm(32), odd, t)
		VPADDD(t, odd, upper, even)
		VPADDD(Mem{Base: corr, Disp: 64 * i}, even, even)
		return even
	})
	ADDQ(Imm(8), steps)
	ADDQ(Imm(4*sliceRows), places)
	ADDQ(U32(16*sliceRows), corr)
	DECQ(slices)
	JNZ(LabelRef(label("slice")))
	asm.Ret()
}

// quadOrder picks from eight 16-bit columns that of block 4i+lane, for both halves of every 128-bit lane.
func quadOrder(i int) Mem {
	m := GLOBL(fmt.Sprintf("quadOrder%d", i), attr.RODATA|attr.NOPTR)
	for half := range 8 {
		word := 4*i + half/2
		DATA(8*half, U64(0x8080808080800000|uint64(2*word+1)<<8|uint64(2*word)))
	}
	return m
}
