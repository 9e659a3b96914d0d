// Command peak generates the loops that measure what the processor can do.
package main

import (
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// Enough independent chains to hide the latency of two 4-cycle units.
const chains = 12

func main() {
	asm.Begin()
	fma("fmaF32AVX2", "8", YMM, asm.ZeroY)
	fma("fmaF32AVX512", "16", ZMM, asm.ZeroZ)
	macAVX2()
	macVNNI("macQS8AVX512VNNI", asm.ZeroZ)
	read("readAVX2", "256", 8, asm.ZeroY)
	read("readAVX512", "512", 16, asm.ZeroZ)
	Generate()
}

func fma(name, lanes string, vec func() reg.VecVirtual, zero func(int) []reg.VecVirtual) {
	TEXT(name, NOSPLIT, "func(n int, x float32)")
	Doc(name+" does "+strconv.Itoa(chains)+" independent fused multiply-adds of "+lanes+" float32 lanes, all operands x, n times.", "", "n must be positive.")
	n := asm.LoadInt("n")
	acc := zero(chains)
	a := vec()
	VBROADCASTSS(asm.LoadF32("x"), a)
	// x is not zero: an idle multiplier draws less power, and the clock would show it
	Label(name + "_loop")
	for i := range acc {
		VFMADD231PS(a, a, acc[i])
	}
	DECQ(n)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}

func macAVX2() {
	TEXT("macQS8AVX2", NOSPLIT, "func(n int)")
	Doc("macQS8AVX2 does 4 independent steps of 32 INT8 products (VPSIGNB, VPMADDUBSW, VPMADDWD, VPADDD), n times.", "", "n must be positive.")
	n := asm.LoadInt("n")
	acc := asm.ZeroY(4)
	x := asm.ZeroY(2)
	one := asm.Ones16()
	Label("macQS8AVX2_loop")
	for i := range acc {
		w := YMM()
		VPSIGNB(x[0], x[1], w)
		VPMADDUBSW(w, x[0], w)
		VPMADDWD(one, w, w)
		VPADDD(w, acc[i], acc[i])
	}
	DECQ(n)
	JNZ(LabelRef("macQS8AVX2_loop"))
	asm.Ret()
}

func macVNNI(name string, zero func(int) []reg.VecVirtual) {
	TEXT(name, NOSPLIT, "func(n int)")
	Doc(name+" does 12 independent VPDPBUSD, n times.", "", "n must be positive.")
	n := asm.LoadInt("n")
	acc := zero(chains)
	x := zero(2)
	Label(name + "_loop")
	for i := range acc {
		VPDPBUSD(x[0], x[1], acc[i])
	}
	DECQ(n)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}

func read(name, step string, lanes int, zero func(int) []reg.VecVirtual) {
	TEXT(name, NOSPLIT, "func(p *byte, n int)")
	Pragma("noescape")
	Doc(name+" reads n bytes at p once.", "", "n must be a positive multiple of "+step+".")
	p, n := asm.LoadInt("p"), asm.LoadInt("n")
	acc := zero(8)
	Label(name + "_loop")
	for i := range acc {
		m := Mem{Base: p, Disp: 4 * lanes * i}
		VPADDD(m, acc[i], acc[i])
	}
	ADDQ(U32(32*lanes), p)
	SUBQ(U32(32*lanes), n)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}
