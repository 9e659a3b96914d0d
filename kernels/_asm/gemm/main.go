// Command gemm generates the float32 micro-kernels and packing routines of kernels/gemm.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// Offsets of the fields of gemm.tile.
const (
	offK   = 0
	offA   = 8
	offARS = 16
	offAKS = 24
	offB   = 32
	offBKS = 40
	offBPS = 48
	offSrc = 56
	offSRS = 64
	offC   = 72
	offCRS = 80
)

// A set is what the variants differ in.
type set struct {
	isa   string
	lanes int
	vec   func() reg.VecVirtual
}

var (
	avx2   = set{"AVX2", 8, YMM}
	avx512 = set{"AVX512", 16, ZMM}
)

func main() {
	Package("mito/kernels/_asm/gemm/types")
	asm.Begin()
	for _, s := range []set{avx2, avx512} {
		mr := 6
		if s.lanes == 16 {
			mr = 12
		}
		for _, vecs := range []int{2, 1} {
			for rows := 1; rows <= mr; rows++ {
				kernel(s, rows, 1, vecs)
			}
		}
	}
	// Rows of a decode step: whole panels of 32 columns, enough of them for 8 chains or more.
	kernel(avx2, 1, 2, 4)
	kernel(avx2, 1, 1, 4)
	kernel(avx2, 2, 1, 4)
	kernel(avx2, 3, 1, 4)
	kernel(avx512, 1, 4, 2)
	for rows := 1; rows <= 3; rows++ {
		kernel(avx512, rows, 3, 2)
		kernel(avx512, rows, 2, 2)
	}
	for rows := 4; rows <= 6; rows++ {
		kernel(avx512, rows, 2, 2)
	}
	packRows()
	packCols()
	packStripAVX2()
	packStripAVX512()
	blocks()
	Generate()
}

// ahead is how many bytes before they are needed the weights of 4 to 8 rows are asked for: their products fill the processor's
// window before its loads have run ahead far enough by themselves.
const ahead = 2048

// kernel generates a micro-kernel of the given rows and of panels·vecs·lanes columns.
func kernel(s set, rows, panels, vecs int) {
	cols := panels * vecs * s.lanes
	name := fmt.Sprintf("gemmF32Kernel%dx%d%s", rows, cols, s.isa)
	TEXT(name, NOSPLIT, "func(t *tile)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes a tile of %d x %d, the columns from %d panel(s):", name, rows, cols, panels), "",
		"\tfor i, j { s := src[i,j]; for k { s = fma(a[i,k], b[k,j], s) }; c[i,j] = s }")
	t := asm.LoadInt("t")
	field := func(off int) reg.GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: t, Disp: off}, r)
		return r
	}

	// Accumulators begin where the chains do.
	acc := make([][]reg.VecVirtual, rows)
	columns := panels * vecs
	src, stride := field(offSrc), field(offSRS)
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, columns)
		for v := range acc[i] {
			acc[i][v] = s.vec()
			VMOVUPS(Mem{Base: src, Disp: 4 * s.lanes * v}, acc[i][v])
		}
		if i < rows-1 {
			ADDQ(stride, src)
		}
	}

	a, aks := field(offA), field(offAKS)
	b, bks := field(offB), field(offBKS)
	aRow := multiples(a, offARS, field, rows)
	bPanel := multiples(b, offBPS, field, panels)
	k := field(offK)
	step := func() {
		if rows > 3 && rows <= 8 && s.lanes == 16 && vecs == 2 {
			for v := range columns {
				m := bPanel[v/vecs]
				m.Disp = ahead + 64*(v%vecs)
				PREFETCHT0(m)
			}
		}
		// With several rows each vector of B is loaded once; with one the product takes it from memory.
		load := func(v int) Op {
			m := bPanel[v/vecs]
			m.Disp = 4 * s.lanes * (v % vecs)
			if rows == 1 {
				return m
			}
			r := s.vec()
			VMOVUPS(m, r)
			return r
		}
		if rows > 3 || panels*vecs <= 2 {
			ops := make([]Op, columns)
			for v := range ops {
				ops[v] = load(v)
			}
			for i := range rows {
				av := s.vec()
				VBROADCASTSS(aRow[i], av)
				for v := range ops {
					VFMADD231PS(ops[v], av, acc[i][v])
				}
			}
		} else {
			av := make([]reg.VecVirtual, rows)
			for i := range av {
				av[i] = s.vec()
				VBROADCASTSS(aRow[i], av[i])
			}
			for v := range columns {
				op := load(v)
				for i := range av {
					VFMADD231PS(op, av[i], acc[i][v])
				}
			}
		}
		ADDQ(aks, a)
		ADDQ(bks, b)
	}
	const unroll = 4
	SUBQ(Imm(unroll), k)
	JLT(LabelRef(name + "_rest"))
	Label(name + "_loop")
	for range unroll {
		step()
	}
	SUBQ(Imm(unroll), k)
	JGE(LabelRef(name + "_loop"))
	Label(name + "_rest")
	ADDQ(Imm(unroll), k)
	JZ(LabelRef(name + "_store"))
	Label(name + "_one")
	step()
	DECQ(k)
	JNZ(LabelRef(name + "_one"))

	Label(name + "_store")
	c, crs := field(offC), field(offCRS)
	for i := range acc {
		for v := range acc[i] {
			VMOVUPS(acc[i][v], Mem{Base: c, Disp: 4 * s.lanes * v})
		}
		if i < rows-1 {
			ADDQ(crs, c)
		}
	}
	asm.Ret()
}

// multiples returns base + i·stride for i < n as memory operands; odd multiples of the stride from 3 take a register.
func multiples(base reg.GPVirtual, off int, field func(int) reg.GPVirtual, n int) []Mem {
	m := make([]Mem, n)
	m[0] = Mem{Base: base}
	if n == 1 {
		return m
	}
	odd := map[int]reg.GPVirtual{1: field(off)}
	for i := 1; i < n; i++ {
		scale, rest := 1, i
		for rest%2 == 0 && scale < 8 {
			scale, rest = 2*scale, rest/2
		}
		if odd[rest] == nil {
			r := GP64()
			MOVQ(odd[rest-2], r)
			ADDQ(odd[1], r)
			ADDQ(odd[1], r)
			odd[rest] = r
		}
		m[i] = Mem{Base: base, Index: odd[rest], Scale: uint8(scale)}
	}
	return m
}

func packRows() {
	const name = "packRowsAVX2"
	TEXT(name, NOSPLIT, "func(dst, src *float32, rows, n, ld int)")
	Pragma("noescape")
	Doc(name+" copies rows of n elements, n a multiple of 8 and at most 32, rows positive:", "",
		"\tfor r, j { dst[r*n+j] = src[r*ld+j] }")
	dst, src, rows, n, ld := asm.LoadInt("dst"), asm.LoadInt("src"), asm.LoadInt("rows"), asm.LoadInt("n"), asm.LoadInt("ld")
	SHLQ(Imm(2), ld)
	for _, vecs := range []int{4, 3, 2, 1} {
		next, loop := fmt.Sprintf("%s_below%d", name, vecs), fmt.Sprintf("%s_loop%d", name, vecs)
		if vecs > 1 {
			CMPQ(n, Imm(uint64(8*vecs)))
			JLT(LabelRef(next))
		}
		Label(loop)
		for v := range vecs {
			x := YMM()
			VMOVUPS(Mem{Base: src, Disp: 32 * v}, x)
			VMOVUPS(x, Mem{Base: dst, Disp: 32 * v})
		}
		ADDQ(ld, src)
		ADDQ(U32(32*vecs), dst)
		DECQ(rows)
		JNZ(LabelRef(loop))
		asm.Ret()
		if vecs > 1 {
			Label(next)
		}
	}
}

func packCols() {
	const name = "packColsAVX2"
	TEXT(name, NOSPLIT, "func(dst, src *float32, blocks, n, ld int)")
	Pragma("noescape")
	Doc(name+" transposes 8 columns, blocks of 8 rows at a time, blocks positive:", "",
		"\tfor k < 8*blocks, j < 8 { dst[k*n+j] = src[j*ld+k] }")
	dst, src, blocks, n, ld := asm.LoadInt("dst"), asm.LoadInt("src"), asm.LoadInt("blocks"), asm.LoadInt("n"), asm.LoadInt("ld")
	SHLQ(Imm(2), ld)
	SHLQ(Imm(2), n)
	in := strided(src, ld)
	out := strided(dst, n)
	step := GP64()
	MOVQ(n, step)
	SHLQ(Imm(3), step)
	Label(name + "_loop")
	x := make([]reg.VecVirtual, 8)
	for i := range x {
		x[i] = YMM()
		VMOVUPS(in[i], x[i])
	}
	pair := func(lo, hi func(a, b reg.VecVirtual) reg.VecVirtual, a, b reg.VecVirtual) (reg.VecVirtual, reg.VecVirtual) {
		return lo(a, b), hi(a, b)
	}
	// Pairs, quadruples, halves: the usual three rounds.
	unlo := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VUNPCKLPS(b, a, r); return r }
	unhi := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VUNPCKHPS(b, a, r); return r }
	shlo := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VSHUFPS(Imm(0x44), b, a, r); return r }
	shhi := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VSHUFPS(Imm(0xEE), b, a, r); return r }
	pelo := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VPERM2F128(Imm(0x20), b, a, r); return r }
	pehi := func(a, b reg.VecVirtual) reg.VecVirtual { r := YMM(); VPERM2F128(Imm(0x31), b, a, r); return r }
	var u, v, w [8]reg.VecVirtual
	for i := 0; i < 8; i += 2 {
		u[i], u[i+1] = pair(unlo, unhi, x[i], x[i+1])
	}
	for i := 0; i < 8; i += 4 {
		v[i], v[i+1] = pair(shlo, shhi, u[i], u[i+2])
		v[i+2], v[i+3] = pair(shlo, shhi, u[i+1], u[i+3])
	}
	for i := range 4 {
		w[i], w[i+4] = pair(pelo, pehi, v[i], v[i+4])
	}
	for i := range w {
		VMOVUPS(w[i], out[i])
	}
	ADDQ(Imm(32), src)
	ADDQ(step, dst)
	DECQ(blocks)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}

// strided returns base + i·stride for i < 8.
func strided(base, stride reg.GPVirtual) []Mem {
	return multiples(base, 0, func(int) reg.GPVirtual { return stride }, 8)
}

const docStrip = "\tfor k { for i < 16 { dst[k*16+i] = 0 }; for i < r { dst[k*16+i] = src[k*ld+i] } }"

func packStripAVX2() {
	const name = "packStripAVX2"
	lane := GLOBL("lane8", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(i))
	}
	TEXT(name, NOSPLIT, "func(dst, src *float32, k, r, ld int)")
	Pragma("noescape")
	Doc(name+" copies rows of r <= 8 elements into rows of 8, k positive:", "",
		"\tfor k { for i < 8 { dst[k*8+i] = 0 }; for i < r { dst[k*8+i] = src[k*ld+i] } }")
	dst, src, k, ld := asm.LoadInt("dst"), asm.LoadInt("src"), asm.LoadInt("k"), asm.LoadInt("ld")
	SHLQ(Imm(2), ld)
	mask, iota8 := YMM(), YMM()
	r, err := Param("r").Resolve()
	if err != nil {
		panic(err)
	}
	VPBROADCASTD(r.Addr, mask)
	VMOVDQU(lane, iota8)
	VPCMPGTD(iota8, mask, mask)
	Label(name + "_loop")
	x := YMM()
	VMASKMOVPS(Mem{Base: src}, mask, x)
	VMOVUPS(x, Mem{Base: dst})
	ADDQ(ld, src)
	ADDQ(Imm(32), dst)
	DECQ(k)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}

func packStripAVX512() {
	const name = "packStripAVX512"
	TEXT(name, NOSPLIT, "func(dst, src *float32, k, r, ld int)")
	Pragma("noescape")
	Doc(name+" copies rows of r <= 16 elements into rows of 16, k positive:", "", docStrip)
	dst, src, k, ld := asm.LoadInt("dst"), asm.LoadInt("src"), asm.LoadInt("k"), asm.LoadInt("ld")
	SHLQ(Imm(2), ld)
	r, bits, one := asm.LoadInt("r"), GP64(), GP64()
	MOVQ(U32(1), one)
	SHLXQ(r, one, bits)
	DECQ(bits)
	mask := K()
	KMOVW(bits.As32(), mask)
	Label(name + "_loop")
	x := ZMM()
	VMOVUPS_Z(Mem{Base: src}, mask, x)
	VMOVUPS(x, Mem{Base: dst})
	ADDQ(ld, src)
	ADDQ(Imm(64), dst)
	DECQ(k)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}
