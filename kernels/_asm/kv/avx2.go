package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

type avx2 struct{}

func (avx2) name() string { return "AVX2" }

var state2 struct{ best, m, worst reg.VecVirtual }

func (avx2) maxima() (best, m, worst reg.VecVirtual) { return state2.best, state2.m, state2.worst }

func (avx2) scores(k *kernel, state reg.GPVirtual) func(kp, ks, vs, q8, groups, rec, index reg.GPVirtual) {
	scale, best, m, worst, one := YMM(), YMM(), YMM(), YMM(), asm.Ones16()
	VBROADCASTSS(Mem{Base: state, Disp: stateC}, scale)
	VMOVDQU(bits(0x80000000), best)
	VPXOR(m, m, m)
	VPXOR(worst, worst, worst)
	state2.best, state2.m, state2.worst = best, m, worst
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
			s, valid, lim := YMM(), YMM(), YMM() // valid becomes the positions that are not
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
			VPANDN(a, valid, a)
			VCVTTPS2DQ(a, a) // NaN and what is too large become -2^31
			VPABSD(a, s)
			VPMAXUD(s, worst, worst)
			VPSLLD(Imm(30), valid, s) // others get -2^30, below all scores
			VPOR(s, a, a)
			VMOVDQU(a, Mem{Base: rec, Disp: recScores + 32*i})
			VPMAXSD(a, best, best)
			VPANDN(Mem{Base: vs, Disp: 32 * i}, valid, s)
			VMOVUPS(s, Mem{Base: rec, Disp: recVScales + 32*i})
			VPMAXUD(s, m, m)
		}
	}
}

func (avx2) weights(k *kernel, rec, blocks reg.GPVirtual, best, unit reg.VecVirtual) reg.VecVirtual {
	sum, zero, one := YMM(), YMM(), asm.Ones16()
	VPXOR(sum, sum, sum)
	VPXOR(zero, zero, zero)
	VPBROADCASTD(best.AsX(), best)
	Label(k.label("weights"))
	d := []reg.VecVirtual{YMM(), YMM()}
	x, r := YMM(), YMM()
	for i := range d {
		VPSUBD(Mem{Base: rec, Disp: recScores + 32*i}, best, d[i])
	}
	// In 16 bits, each half holds four of the first and four of the second, saturated; so do unpacked words afterwards.
	VPACKUSDW(d[1], d[0], x)
	VPSLLW(Imm(5), x, x)
	VPSRLW(Imm(1), x, x) // (d mod 2048)·16
	a := power(x)
	VPADDW(a, a, a)
	e := []reg.VecVirtual{YMM(), YMM()}
	VPUNPCKLWD(zero, a, e[0])
	VPUNPCKHWD(zero, a, e[1])
	for i := range e {
		VPSRLD(Imm(11), d[i], d[i])
		VPSRLVD(d[i], e[i], e[i])
	}
	VPACKUSDW(e[1], e[0], a)
	VPAVGW(zero, a, a) // (a+1) >> 1
	t := YMM()
	VPMADDWD(one, a, t)
	VPADDD(t, sum, sum)
	for i := range d {
		VMULPS(Mem{Base: rec, Disp: recVScales + 32*i}, unit, d[i])
		VCVTTPS2DQ(d[i], d[i])
	}
	VPACKSSDW(d[1], d[0], r)
	VPMULHRSW(r, a, a)
	VPERMQ(Imm(0xd8), a, a)
	VMOVDQU(a, Mem{Base: rec, Disp: recWeights})
	ADDQ(U32(recBytes), rec)
	DECQ(blocks)
	JNZ(LabelRef(k.label("weights")))
	return sum
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
