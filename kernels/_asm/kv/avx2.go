package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

type avx2 struct{}

func (avx2) name() string { return "AVX2" }

var state2 struct{ best, m reg.VecVirtual }

func (avx2) maxima() (best, m reg.VecVirtual) { return state2.best, state2.m }

func (avx2) scores(k *kernel, state reg.GPVirtual) func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
	scale, best, m, one := YMM(), YMM(), YMM(), asm.Ones16()
	VBROADCASTSS(Mem{Base: state, Disp: stateC}, scale)
	VMOVUPS(bits(0xff800000), best)
	VPXOR(m, m, m)
	state2.best, state2.m = best, m
	return func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
		acc := asm.ZeroY(2)
		Label(k.label("scores_group"))
		q, aq := YMM(), YMM()
		VPBROADCASTD(Mem{Base: q8}, q)
		VPABSB(q, aq)
		for i, a := range acc {
			t := YMM()
			VMOVDQU(Mem{Base: kp, Disp: 32 * i}, t)
			VPSIGNB(q, t, t)
			VPMADDUBSW(t, aq, t)
			VPMADDWD(one, t, t)
			VPADDD(t, a, a)
		}
		ADDQ(Imm(64), kp)
		ADDQ(Imm(4), q8)
		DECQ(groups)
		JNZ(LabelRef(k.label("scores_group")))
		for i, a := range acc {
			s, valid, lim := YMM(), YMM(), YMM()
			VMULPS(Mem{Base: ks, Disp: 32 * i}, scale, s)
			VCVTDQ2PS(a, a)
			VMULPS(s, a, a)
			// valid: first - 1 < index and index < last + 1
			x, at := XMM(), YMM()
			VMOVQ(index, x)
			VPBROADCASTD(x, at)
			VPADDD(counting().Offset(32*i), at, at)
			VPBROADCASTD(Mem{Base: k.a, Disp: argFirst}, lim)
			VPCMPGTD(at, lim, valid) // first > index
			VPBROADCASTD(Mem{Base: k.a, Disp: argLast}, lim)
			VPCMPGTD(lim, at, at) // index > last
			VPOR(at, valid, valid)
			VBLENDVPS(valid, bits(0xff800000), a, a)
			VMOVUPS(a, Mem{Base: rec, Disp: recScores + 32*i})
			VMAXPS(a, best, best)
			VPANDN(Mem{Base: vs, Disp: 32 * i}, valid, s)
			VMOVUPS(s, Mem{Base: rec, Disp: recVScales + 32*i})
			VPMAXUD(s, m, m)
		}
	}
}

func (avx2) exps(k *kernel, rec, blocks reg.GPVirtual, best reg.VecVirtual) reg.VecVirtual {
	shift, sum := YMM(), YMM()
	VBROADCASTSS(best.AsX(), shift)
	VXORPS(sum, sum, sum)
	Label(k.label("exps"))
	for i := range 2 {
		x := YMM()
		VMOVUPS(Mem{Base: rec, Disp: recScores + 32*i}, x)
		VSUBPS(shift, x, x)
		e := exp(YMM, x, func(y, x reg.VecVirtual) {
			t := YMM()
			VCMPPS(U8(0x15), f32(-87), x, t) // not less
			VANDPS(t, y, y)
		})
		VMOVUPS(e, Mem{Base: rec, Disp: recScores + 32*i})
		VADDPS(e, sum, sum)
	}
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("exps")))
	return sum
}

func (avx2) weights(k *kernel, rec, blocks, state reg.GPVirtual) {
	z, u := YMM(), YMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateZ}, z)
	VBROADCASTSS(Mem{Base: state, Disp: stateU}, u)
	Label(k.label("weights"))
	t := []reg.VecVirtual{YMM(), YMM()}
	for i, x := range t {
		VMULPS(Mem{Base: rec, Disp: recScores + 32*i}, z, x)
		VMULPS(Mem{Base: rec, Disp: recVScales + 32*i}, x, x)
		VMULPS(u, x, x)
		VADDPS(f32(0.5), x, x)
		VCVTTPS2DQ(x, x)
	}
	VPACKSSDW(t[1], t[0], t[0]) // in each half: four of the first, four of the second
	VPERMQ(Imm(0xd8), t[0], t[0])
	VMOVDQU(t[0], Mem{Base: rec, Disp: recWeights})
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("weights")))
}

func (avx2) weigh(k *kernel, state reg.GPVirtual) {
	unit, lo, hi := YMM(), YMM(), YMM()
	VBROADCASTSS(Mem{Base: state, Disp: stateG}, unit)
	k.weighPages(func() {
		VPXOR(lo, lo, lo)
		VPXOR(hi, hi, hi)
	}, func(v, w, row reg.GPVirtual) {
		for pair := range 8 {
			x, t, s := YMM(), YMM(), YMM()
			VPBROADCASTD(Mem{Base: w, Disp: 4 * pair}, x)
			VPMOVSXBW(Mem{Base: v}, t)
			VPMOVSXBW(Mem{Base: v, Disp: 16}, s)
			VPMADDWD(x, t, t)
			VPMADDWD(x, s, s)
			VPADDD(t, lo, lo)
			VPADDD(s, hi, hi)
			ADDQ(row, v)
		}
	}, func(out, left reg.GPVirtual) { k.store8(lo, hi, unit, out, left) })
}
