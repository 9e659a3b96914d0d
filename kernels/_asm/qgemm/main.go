// Command qgemm generates the INT8 products of kernels/qgemm.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// A block is 32 weight rows; a group, 4 columns of them, is 128 bytes.
const groupBytes = 128

func main() {
	asm.Begin()
	for _, rows := range []int{1, 4} {
		product(variant{"AVX512VNNI", 2, 2, ZMM, vnni512}, rows)
	}
	for _, rows := range []int{1, 2} {
		product(variant{"AVXVNNI", 4, 2, YMM, vnni256}, rows)
		product(variant{"AVX2", 4, 1, YMM, signed256}, rows)
		product(variant{"UnsignedAVX2", 4, 1, YMM, unsigned256}, rows)
	}
	asm.GenerateVEX()
}

// variant is one way to add the products of a group to the accumulators.
type variant struct {
	name string
	regs int // registers that hold 32 sums
	sets int // sets of sums for a single row, which hide the latency of adding to one
	vec  func() reg.VecVirtual
	// start returns what adds the group at w + disp, with the activations at x[row] + xdisp, to acc[row].
	start func() func(w reg.Register, disp int, x []Mem, acc [][]reg.VecVirtual)
}

// vnni512 adds with activations offset by 128, which VPDPBUSD takes as unsigned; the sums begin at the correction.
func vnni512() func(reg.Register, int, []Mem, [][]reg.VecVirtual) {
	flip := ZMM()
	t := GP32()
	MOVL(U32(0x80808080), t)
	VPBROADCASTD(t, flip)
	return func(w reg.Register, disp int, x []Mem, acc [][]reg.VecVirtual) {
		w0, w1 := ZMM(), ZMM()
		if len(x) > 1 {
			VMOVDQU32(Mem{Base: w, Disp: disp}, w0)
			VMOVDQU32(Mem{Base: w, Disp: disp + 64}, w1)
		}
		for r, a := range acc {
			v := ZMM()
			VPXORD_BCST(x[r], flip, v)
			if len(x) > 1 {
				VPDPBUSD(w0, v, a[0])
				VPDPBUSD(w1, v, a[1])
			} else {
				VPDPBUSD(Mem{Base: w, Disp: disp}, v, a[0])
				VPDPBUSD(Mem{Base: w, Disp: disp + 64}, v, a[1])
			}
		}
	}
}

func vnni256() func(reg.Register, int, []Mem, [][]reg.VecVirtual) {
	flip := YMM()
	VPCMPEQB(flip, flip, flip)
	VPSLLW(Imm(7), flip, flip)
	VPACKSSWB(flip, flip, flip) // 0xff80 saturates to 0x80
	return func(w reg.Register, disp int, x []Mem, acc [][]reg.VecVirtual) {
		xs := make([]reg.VecVirtual, len(x))
		for r := range x {
			xs[r] = YMM()
			VPBROADCASTD(x[r], xs[r])
			VPXOR(flip, xs[r], xs[r])
		}
		for i := range acc[0] {
			v := YMM()
			VMOVDQU(Mem{Base: w, Disp: disp + 32*i}, v)
			for r := range x {
				VPDPBUSD(v, xs[r], acc[r][i])
			}
		}
	}
}

// signed256 multiplies |x| by w with the sign of x. |w| ≤ 127 keeps VPMADDUBSW from saturating.
func signed256() func(reg.Register, int, []Mem, [][]reg.VecVirtual) {
	one := asm.Ones16()
	return func(w reg.Register, disp int, x []Mem, acc [][]reg.VecVirtual) {
		xs, ax := make([]reg.VecVirtual, len(x)), make([]reg.VecVirtual, len(x))
		for r := range x {
			xs[r], ax[r] = YMM(), YMM()
			VPBROADCASTD(x[r], xs[r])
			VPABSB(xs[r], ax[r])
		}
		for i := range acc[0] {
			v := YMM()
			VMOVDQU(Mem{Base: w, Disp: disp + 32*i}, v)
			for r := range x {
				t := YMM()
				VPSIGNB(xs[r], v, t)
				VPMADDUBSW(t, ax[r], t)
				VPMADDWD(one, t, t)
				VPADDD(t, acc[r][i], acc[r][i])
			}
		}
	}
}

func unsigned256() func(reg.Register, int, []Mem, [][]reg.VecVirtual) {
	one := asm.Ones16()
	return func(w reg.Register, disp int, x []Mem, acc [][]reg.VecVirtual) {
		xs := make([]reg.VecVirtual, len(x))
		for r := range x {
			xs[r] = YMM()
			VPBROADCASTD(x[r], xs[r])
		}
		for i := range acc[0] {
			for r := range x {
				t := YMM()
				VPMADDUBSW(Mem{Base: w, Disp: disp + 32*i}, xs[r], t)
				VPMADDWD(one, t, t)
				VPADDD(t, acc[r][i], acc[r][i])
			}
		}
	}
}

// product generates the product of rows activation rows with blocks of 32 weight rows.
func product(v variant, rows int) {
	name := fmt.Sprintf("mul%d%s", rows, v.name)
	TEXT(name, NOSPLIT, "func(acc *int32, ldacc int, w *int8, corr *int32, x *int8, ldx, blocks, k4, skip int)")
	Doc(fmt.Sprintf("%s computes acc[m·ldacc+n] = Σ_k w[n,k]·x[m·ldx+k] for m < %d, n < 32·blocks, k < 4·k4.", name, rows), "",
		"A block of w is k4 groups [32][4] and skip further bytes. blocks and k4 are positive.")
	acc0, w, corr, x0 := asm.LoadInt("acc"), asm.LoadInt("w"), asm.LoadInt("corr"), asm.LoadInt("x")
	blocks, k4, skip := asm.LoadInt("blocks"), asm.LoadInt("k4"), asm.LoadInt("skip")
	var ldacc, ldx reg.GPVirtual
	if rows > 1 {
		ldacc, ldx = asm.LoadInt("ldacc"), asm.LoadInt("ldx")
		SHLQ(Imm(2), ldacc)
	}
	add := v.start()

	Label(name + "_block")
	acc := make([][]reg.VecVirtual, rows)
	for r := range acc {
		acc[r] = sums(v, corr)
	}
	var odd [][]reg.VecVirtual
	if rows == 1 && v.sets == 2 {
		odd = [][]reg.VecVirtual{zeros(v)}
	}
	x, n := make([]reg.GPVirtual, rows), GP64()
	for r := range x {
		x[r] = GP64()
		if r == 0 {
			MOVQ(x0, x[r])
		} else {
			LEAQ(Mem{Base: x[r-1], Index: ldx, Scale: 1}, x[r])
		}
	}
	groups := func(count int) {
		for u := range count {
			at := make([]Mem, rows)
			for r := range at {
				at[r] = Mem{Base: x[r], Disp: 4 * u}
			}
			to := acc
			if odd != nil && u%2 == 1 {
				to = odd
			}
			add(w, groupBytes*u, at, to)
		}
		ADDQ(U32(uint32(groupBytes*count)), w)
		for r := range x {
			ADDQ(Imm(uint64(4*count)), x[r])
		}
	}
	// Four groups at a time, then the rest one by one.
	const unroll = 4
	MOVQ(k4, n)
	SUBQ(Imm(unroll), n)
	JL(LabelRef(name + "_rest"))
	Label(name + "_four")
	groups(unroll)
	SUBQ(Imm(unroll), n)
	JGE(LabelRef(name + "_four"))
	Label(name + "_rest")
	ADDQ(Imm(unroll), n)
	JZ(LabelRef(name + "_store"))
	Label(name + "_one")
	groups(1)
	DECQ(n)
	JNZ(LabelRef(name + "_one"))
	Label(name + "_store")
	if odd != nil {
		for i, a := range acc[0] {
			VPADDD(odd[0][i], a, a)
		}
	}
	y := acc0
	for r := range acc {
		if r > 0 {
			next := GP64()
			LEAQ(Mem{Base: y, Index: ldacc, Scale: 1}, next)
			y = next
		}
		for i, a := range acc[r] {
			if v.regs == 2 {
				VMOVDQU32(a, Mem{Base: y, Disp: 64 * i})
			} else {
				VMOVDQU(a, Mem{Base: y, Disp: 32 * i})
			}
		}
	}
	ADDQ(skip, w)
	ADDQ(U32(groupBytes), acc0)
	ADDQ(U32(groupBytes), corr)
	DECQ(blocks)
	JNZ(LabelRef(name + "_block"))
	asm.Ret()
}

// sums returns registers for 32 sums, set to where they begin.
func sums(v variant, corr reg.Register) []reg.VecVirtual {
	acc := zeros(v)
	for i, a := range acc {
		switch v.name {
		case "AVX512VNNI":
			VMOVDQU32(Mem{Base: corr, Disp: 64 * i}, a)
		case "AVXVNNI":
			VMOVDQU(Mem{Base: corr, Disp: 32 * i}, a)
		}
	}
	return acc
}

func zeros(v variant) []reg.VecVirtual {
	if v.regs == 2 {
		return asm.ZeroZ(2)
	}
	return asm.ZeroY(v.regs)
}
