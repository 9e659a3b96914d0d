package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// Offsets of the fields of gemm.blockTile and gemm.gradTile.
const (
	blkN   = 0
	blkAt  = 8
	blkW   = 16
	blkWS  = 24
	blkX   = 32
	blkXS  = 40
	blkSrc = 48
	blkSRS = 56
	blkC   = 64
	blkCRS = 72

	gradN   = 0
	gradY   = 8
	gradX   = 16 // three of them
	gradSrc = 40
	gradSRS = 64
	gradC   = 72
	gradCRS = 96
)

const (
	blockRows = 4
	blockCols = 8
	rowsNT    = 24 // rows of x that blocksNT works on
	rowsNN    = 12
)

func loader() func(off int) reg.GPVirtual {
	t := asm.LoadInt("t")
	return func(off int) reg.GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: t, Disp: off}, r)
		return r
	}
}

// blocks generates the products with the live blocks of a weight.
func blocks() {
	blocksNT()
	blocksNN()
	for n := 1; n <= 3; n++ {
		blocksTN(n)
	}
}

// eachBlock loops over a list of block numbers; nothing is done for an empty one.
func eachBlock(name string, field func(int) reg.GPVirtual, body func(block reg.GPVirtual)) {
	n, at := field(blkN), field(blkAt)
	TESTQ(n, n)
	JZ(LabelRef(name + "_store"))
	Label(name + "_loop")
	block := GP64()
	MOVL(Mem{Base: at}, block.As32())
	body(block)
	ADDQ(Imm(4), at)
	DECQ(n)
	JNZ(LabelRef(name + "_loop"))
	Label(name + "_store")
}

// blocksNT has the rows of x in the lanes: x lies transposed, and four outputs of each row leave through a transposition.
func blocksNT() {
	const name, vecs = "gemmF32BlocksNTAVX2", rowsNT / 8
	TEXT(name, NOSPLIT, "func(t *blockTile)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes four outputs of %d rows of x from the live blocks of a block row of w:", name, rowsNT), "",
		fmt.Sprintf("\tfor i < %d, r < 4 { s := src[r]; for b in at, j < 8 { s = fma(w[r,8b+j], x[8b+j,i], s) }; c[i,r] = s }", rowsNT))
	field := loader()
	var acc [blockRows][vecs]reg.VecVirtual
	src := field(blkSrc)
	for r := range acc {
		for v := range acc[r] {
			acc[r][v] = YMM()
			VBROADCASTSS(Mem{Base: src, Disp: 4 * r}, acc[r][v])
		}
	}
	w, ws, x := field(blkW), field(blkWS), field(blkX)
	ws3 := GP64()
	LEAQ(Mem{Base: ws, Index: ws, Scale: 2}, ws3)
	eachBlock(name, field, func(block reg.GPVirtual) {
		wp, xp := GP64(), GP64()
		SHLQ(Imm(5), block)
		LEAQ(Mem{Base: w, Index: block, Scale: 1}, wp)
		// 8 columns of rowsNT floats are 24 times 32 bytes.
		LEAQ(Mem{Base: block, Index: block, Scale: 2}, xp)
		SHLQ(Imm(3), xp)
		ADDQ(x, xp)
		row := []Mem{{Base: wp}, {Base: wp, Index: ws, Scale: 1}, {Base: wp, Index: ws, Scale: 2}, {Base: wp, Index: ws3, Scale: 1}}
		for j := range blockCols {
			var xv [vecs]reg.VecVirtual
			for v := range xv {
				xv[v] = YMM()
				VMOVUPS(Mem{Base: xp, Disp: 4*rowsNT*j + 32*v}, xv[v])
			}
			for r := range acc {
				m, f := row[r], YMM()
				m.Disp = 4 * j
				VBROADCASTSS(m, f)
				for v := range xv {
					VFMADD231PS(xv[v], f, acc[r][v])
				}
			}
		}
	})
	c, crs := field(blkC), field(blkCRS)
	odd := multiples(c, 0, func(int) reg.GPVirtual { return crs }, 8)
	for v := range vecs {
		var a [blockRows]reg.VecVirtual
		for r := range a {
			a[r] = acc[r][v]
		}
		t0, t1, t2, t3 := YMM(), YMM(), YMM(), YMM()
		VUNPCKLPS(a[1], a[0], t0)
		VUNPCKHPS(a[1], a[0], t1)
		VUNPCKLPS(a[3], a[2], t2)
		VUNPCKHPS(a[3], a[2], t3)
		for i, p := range [][2]reg.VecVirtual{{t0, t2}, {t0, t2}, {t1, t3}, {t1, t3}} {
			o := YMM()
			VSHUFPS(Imm([]uint64{0x44, 0xEE}[i%2]), p[1], p[0], o)
			VMOVUPS(o.AsX(), odd[i])
			VEXTRACTF128(Imm(1), o, odd[i+4])
		}
		if v < vecs-1 {
			LEAQ(Mem{Base: c, Index: crs, Scale: 8}, c)
		}
	}
	asm.Ret()
}

// blocksNN has the columns of a block in the lanes.
func blocksNN() {
	const name = "gemmF32BlocksNNAVX2"
	TEXT(name, NOSPLIT, "func(t *blockTile)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes eight columns of %d rows from the live blocks of a block column of w:", name, rowsNN), "",
		fmt.Sprintf("\tfor i < %d, j < 8 { s := src[i,j]; for b in at, r < 4 { s = fma(x[i,4b+r], w[4b+r,j], s) }; c[i,j] = s }", rowsNN))
	field := loader()
	var acc [rowsNN]reg.VecVirtual
	src, srs := field(blkSrc), field(blkSRS)
	for i := range acc {
		acc[i] = YMM()
		VMOVUPS(Mem{Base: src}, acc[i])
		if i < rowsNN-1 {
			ADDQ(srs, src)
		}
	}
	w, ws, x, xs := field(blkW), field(blkWS), field(blkX), field(blkXS)
	xp := GP64()
	row := multiples(xp, 0, func(int) reg.GPVirtual { return xs }, rowsNN)
	eachBlock(name, field, func(block reg.GPVirtual) {
		wp := GP64()
		SHLQ(Imm(2), block)
		LEAQ(Mem{Base: x, Index: block, Scale: 4}, xp)
		MOVQ(block, wp)
		IMULQ(ws, wp)
		ADDQ(w, wp)
		for r := range blockRows {
			wv := YMM()
			VMOVUPS(Mem{Base: wp}, wv)
			for i := range acc {
				m, f := row[i], YMM()
				m.Disp = 4 * r
				VBROADCASTSS(m, f)
				VFMADD231PS(f, wv, acc[i])
			}
			if r < blockRows-1 {
				ADDQ(ws, wp)
			}
		}
	})
	c, crs := field(blkC), field(blkCRS)
	for i := range acc {
		VMOVUPS(acc[i], Mem{Base: c})
		if i < rowsNN-1 {
			ADDQ(crs, c)
		}
	}
	asm.Ret()
}

// blocksTN computes up to three blocks of a block row of the gradient of w, whose chains run over the rows of x and dy.
func blocksTN(n int) {
	name := fmt.Sprintf("gemmF32BlocksTN%dAVX2", n)
	TEXT(name, NOSPLIT, "func(t *gradTile)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d block(s) of a block row:", name, n), "",
		fmt.Sprintf("\tfor b < %d, r < 4, j < 8 { s := src[b][r,j]; for i < n { s = fma(y[i,r], x[b][i,j], s) }; c[b][r,j] = s }", n))
	field := loader()
	acc := make([][blockRows]reg.VecVirtual, n)
	srs := field(gradSRS)
	for b := range acc {
		src := field(gradSrc + 8*b)
		for r := range acc[b] {
			acc[b][r] = YMM()
			VMOVUPS(Mem{Base: src}, acc[b][r])
			if r < blockRows-1 {
				ADDQ(srs, src)
			}
		}
	}
	count, y := field(gradN), field(gradY)
	x := make([]reg.GPVirtual, n)
	for b := range x {
		x[b] = field(gradX + 8*b)
	}
	step := func(i int) {
		xv := make([]reg.VecVirtual, n)
		for b := range xv {
			xv[b] = YMM()
			VMOVUPS(Mem{Base: x[b], Disp: 32 * i}, xv[b])
		}
		for r := range blockRows {
			f := YMM()
			VBROADCASTSS(Mem{Base: y, Disp: 32*i + 4*r}, f)
			for b := range xv {
				VFMADD231PS(xv[b], f, acc[b][r])
			}
		}
	}
	advance := func(rows int) {
		ADDQ(U32(uint32(32*rows)), y)
		for b := range x {
			ADDQ(U32(uint32(32*rows)), x[b])
		}
	}
	const unroll = 4
	SUBQ(Imm(unroll), count)
	JLT(LabelRef(name + "_rest"))
	Label(name + "_loop")
	for i := range unroll {
		step(i)
	}
	advance(unroll)
	SUBQ(Imm(unroll), count)
	JGE(LabelRef(name + "_loop"))
	Label(name + "_rest")
	ADDQ(Imm(unroll), count)
	JZ(LabelRef(name + "_store"))
	Label(name + "_one")
	step(0)
	advance(1)
	DECQ(count)
	JNZ(LabelRef(name + "_one"))
	Label(name + "_store")
	crs := field(gradCRS)
	for b := range acc {
		c := field(gradC + 8*b)
		for r := range acc[b] {
			VMOVUPS(acc[b][r], Mem{Base: c})
			if r < blockRows-1 {
				ADDQ(crs, c)
			}
		}
	}
	asm.Ret()
}
