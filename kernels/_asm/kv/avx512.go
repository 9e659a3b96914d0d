package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// avx512 needs VNNI.
type avx512 struct{}

func (avx512) name() string { return "AVX512VNNI" }

var state5 struct{ best, m, worst reg.VecVirtual }

func (avx512) maxima() (best, m, worst reg.VecVirtual) {
	fold := func(v reg.VecVirtual, op func(a, b, d reg.VecVirtual)) reg.VecVirtual {
		h, d := YMM(), YMM()
		VEXTRACTI32X8(Imm(1), v, h)
		op(h, v.AsY().(reg.VecVirtual), d)
		return d
	}
	unsigned := func(a, b, d reg.VecVirtual) { VPMAXUD(a, b, d) }
	return fold(state5.best, func(a, b, d reg.VecVirtual) { VPMAXSD(a, b, d) }), fold(state5.m, unsigned), fold(state5.worst, unsigned)
}

func (avx512) scores(k *kernel, state reg.GPVirtual) func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
	scale, best, m, worst, flip, start, first, last, low := ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateC}, scale)
	VMOVDQU32(bits(0xc0000000), low) // -2^30, below all scores
	VMOVDQA32(low, best)
	VPXORD(m, m, m)
	VPXORD(worst, worst, worst)
	state5.best, state5.m, state5.worst = best, m, worst
	// Keys are offset by 128 to be unsigned; the sums start at -128·Σ q.
	VMOVDQU32(bits(0x80808080), flip)
	VPBROADCASTD(Mem{Base: state, Disp: stateCorr}, start)
	VPBROADCASTD(Mem{Base: k.a, Disp: argFirst}, first)
	VPBROADCASTD(Mem{Base: k.a, Disp: argLast}, last)
	return func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
		acc := ZMM()
		VMOVDQA32(start, acc)
		Label(k.label("scores_group"))
		// The dimension is a multiple of 8.
		for i := range 2 {
			t := ZMM()
			VPXORD(Mem{Base: kp, Disp: 64 * i}, flip, t)
			VPDPBUSD_BCST(Mem{Base: q8, Disp: 4 * i}, t, acc)
		}
		ADDQ(U32(128), kp)
		ADDQ(Imm(8), q8)
		SUBQ(Imm(2), groups)
		JNZ(LabelRef(k.label("scores_group")))
		s, at := ZMM(), ZMM()
		valid, upper := K(), K()
		VPBROADCASTD(index.As32(), at)
		VPADDD(counting(), at, at)
		VPCMPD(U8(5), first, at, valid) // index ≥ first
		VPCMPD(U8(2), last, at, upper)  // index ≤ last
		KANDW(upper, valid, valid)
		VMULPS(Mem{Base: ks}, scale, s)
		VCVTDQ2PS(acc, acc)
		v, size := ZMM(), ZMM()
		VMULPS(s, acc, s)
		VMOVDQA32(low, v)
		VCVTTPS2DQ(s, valid, v) // NaN and what is too large become -2^31
		VPABSD_Z(v, valid, size)
		VPMAXUD(size, worst, worst)
		VMOVDQU32(v, Mem{Base: rec, Disp: recScores})
		VPMAXSD(v, best, best)
		sc := ZMM()
		VMOVUPS_Z(Mem{Base: vs}, valid, sc)
		VMOVUPS(sc, Mem{Base: rec, Disp: recVScales})
		VPMAXUD(sc, m, m)
	}
}

func (avx512) weights(k *kernel, rec, blocks reg.GPVirtual, best, unit reg.VecVirtual) reg.VecVirtual {
	sum, zero, one, top, units := YMM(), YMM(), asm.Ones16(), ZMM(), ZMM()
	VPXOR(sum, sum, sum)
	VPXOR(zero, zero, zero)
	VPBROADCASTD(best.AsX(), top)
	VBROADCASTSS(unit.AsX(), units)
	Label(k.label("weights"))
	d, n, x := ZMM(), YMM(), YMM()
	VPSUBD(Mem{Base: rec, Disp: recScores}, top, d)
	VPMOVUSDW(d, x) // saturated
	VPSRLW(Imm(11), x, n)
	VPSLLW(Imm(5), x, x)
	VPSRLW(Imm(1), x, x) // (d mod 2048)·16
	a := power(x)
	VPADDW(a, a, a)
	VPSRLVW(n, a, a)
	VPAVGW(zero, a, a) // (a+1) >> 1
	VPDPWSSD(one, a, sum)
	r, r16 := ZMM(), YMM()
	VMULPS(Mem{Base: rec, Disp: recVScales}, units, r)
	VCVTTPS2DQ(r, r)
	VPMOVDW(r, r16)
	VPMULHRSW(r16, a, a)
	VMOVDQU(a, Mem{Base: rec, Disp: recWeights})
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("weights")))
	return sum
}

func (avx512) weigh(k *kernel, state reg.GPVirtual) {
	unit := YMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateG}, unit)
	acc := []reg.VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	k.weighPages(func() {
		for _, a := range acc {
			VPXORD(a, a, a)
		}
	}, func(v, w, row reg.GPVirtual) {
		for pair := range 8 {
			t := ZMM()
			VPMOVSXBW(Mem{Base: v}, t)
			VPDPWSSD_BCST(Mem{Base: w, Disp: 4 * pair}, t, acc[pair%4])
			ADDQ(row, v)
		}
	}, func(out, left reg.GPVirtual) {
		VPADDD(acc[1], acc[0], acc[0])
		VPADDD(acc[3], acc[2], acc[2])
		VPADDD(acc[2], acc[0], acc[0])
		hi := YMM()
		VEXTRACTI32X8(Imm(1), acc[0], hi)
		k.store8(acc[0].AsY().(reg.VecVirtual), hi, unit, out, left)
	})
}
