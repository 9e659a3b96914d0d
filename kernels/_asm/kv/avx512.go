package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512 needs VNNI.
type avx512 struct{}

func (avx512) name() string { return "AVX512VNNI" }

var state5 struct{ best, m reg.VecVirtual }

func (avx512) maxima() (best, m reg.VecVirtual) {
	fold := func(v reg.VecVirtual, op func(a, b, d reg.VecVirtual)) reg.VecVirtual {
		h, d := YMM(), YMM()
		VEXTRACTF32X8(Imm(1), v, h)
		op(h, v.AsY().(reg.VecVirtual), d)
		return d
	}
	return fold(state5.best, func(a, b, d reg.VecVirtual) { VMAXPS(a, b, d) }),
		fold(state5.m, func(a, b, d reg.VecVirtual) { VPMAXUD(a, b, d) })
}

func (avx512) scores(k *kernel, state reg.GPVirtual) func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
	scale, best, m, flip, start, first, last, inf := ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateC}, scale)
	VMOVUPS(bits(0xff800000), inf)
	VMOVUPS(inf, best)
	VPXORD(m, m, m)
	state5.best, state5.m = best, m
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
		v := ZMM()
		VMOVAPS(inf, v)
		VMULPS(s, acc, valid, v)
		VMOVUPS(v, Mem{Base: rec, Disp: recScores})
		VMAXPS(v, best, best)
		sc := ZMM()
		VMOVUPS_Z(Mem{Base: vs}, valid, sc)
		VMOVUPS(sc, Mem{Base: rec, Disp: recVScales})
		VPMAXUD(sc, m, m)
	}
}

func (avx512) exps(k *kernel, rec, blocks reg.GPVirtual, best reg.VecVirtual) reg.VecVirtual {
	shift, sum := ZMM(), YMM()
	VBROADCASTSS(best.AsX(), shift)
	VXORPS(sum, sum, sum)
	Label(k.label("exps"))
	x := ZMM()
	VMOVUPS(Mem{Base: rec, Disp: recScores}, x)
	VSUBPS(shift, x, x)
	e := exp(ZMM, x, func(y, x reg.VecVirtual) {
		keep := K()
		VCMPPS(U8(0x15), f32(-87), x, keep)
		VMOVAPS_Z(y, keep, y)
	})
	VMOVUPS(e, Mem{Base: rec, Disp: recScores})
	hi := YMM()
	VEXTRACTF32X8(Imm(1), e, hi)
	VADDPS(e.AsY(), sum, sum)
	VADDPS(hi, sum, sum)
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("exps")))
	return sum
}

func (avx512) weights(k *kernel, rec, blocks, state reg.GPVirtual) {
	z, u := ZMM(), ZMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateZ}, z)
	VBROADCASTSS(Mem{Base: state, Disp: stateU}, u)
	Label(k.label("weights"))
	x := ZMM()
	VMULPS(Mem{Base: rec, Disp: recScores}, z, x)
	VMULPS(Mem{Base: rec, Disp: recVScales}, x, x)
	VMULPS(u, x, x)
	VADDPS(f32(0.5), x, x)
	VCVTTPS2DQ(x, x)
	VPMOVDW(x, Mem{Base: rec, Disp: recWeights})
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("weights")))
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
