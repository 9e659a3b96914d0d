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

func (avx2) scoreStart(k *kernel, c reg.VecVirtual) func(kp, ks, vs, q8, groups, out, outVS, index reg.GPVirtual) {
	scale, best, m, one := YMM(), YMM(), YMM(), asm.Ones16()
	VBROADCASTSS(c.AsX(), scale)
	VMOVUPS(bits(0xff800000), best)
	VPXOR(m, m, m)
	state2.best, state2.m = best, m
	return func(kp, ks, vs, q8, groups, out, outVS, index reg.GPVirtual) {
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
			VMOVUPS(a, Mem{Base: out, Disp: 32 * i})
			VMAXPS(a, best, best)
			VPANDN(Mem{Base: vs, Disp: 32 * i}, valid, s)
			VMOVUPS(s, Mem{Base: outVS, Disp: 32 * i})
			VPMAXUD(s, m, m)
		}
	}
}

func (avx2) exps(k *kernel, best reg.VecVirtual) reg.VecVirtual {
	shift, sum := YMM(), YMM()
	VBROADCASTSS(best.AsX(), shift)
	VXORPS(sum, sum, sum)
	p, n := k.load(argScores), k.load(argBlocks)
	SHLQ(Imm(1), n)
	Label(k.label("exps"))
	x := YMM()
	VMOVUPS(Mem{Base: p}, x)
	VSUBPS(shift, x, x)
	e := exp(YMM, x, func(y, x reg.VecVirtual) {
		t := YMM()
		VCMPPS(U8(0x15), f32(-87), x, t) // not less
		VANDPS(t, y, y)
	})
	VMOVUPS(e, Mem{Base: p})
	VADDPS(e, sum, sum)
	ADDQ(Imm(32), p)
	DECQ(n)
	JNZ(LabelRef(k.label("exps")))
	return sum
}

func (avx2) weights(k *kernel, z, u reg.VecVirtual) {
	VBROADCASTSS(z.AsX(), z)
	VBROADCASTSS(u.AsX(), u)
	p, vs, out, n := k.load(argScores), k.load(argVScales), k.load(argWeights), k.load(argBlocks)
	Label(k.label("weights"))
	t := []reg.VecVirtual{YMM(), YMM()}
	for i, x := range t {
		VMULPS(Mem{Base: p, Disp: 32 * i}, z, x)
		VMULPS(Mem{Base: vs, Disp: 32 * i}, x, x)
		VMULPS(u, x, x)
		VADDPS(f32(0.5), x, x)
		VCVTTPS2DQ(x, x)
	}
	VPACKSSDW(t[1], t[0], t[0]) // in each half: four of the first, four of the second
	VPERMQ(Imm(0xd8), t[0], t[0])
	VMOVDQU(t[0], Mem{Base: out})
	ADDQ(Imm(64), p)
	ADDQ(Imm(64), vs)
	ADDQ(Imm(32), out)
	DECQ(n)
	JNZ(LabelRef(k.label("weights")))
}

func (avx2) chunk(k *kernel, g reg.VecVirtual) {
	unit := YMM()
	VBROADCASTSS(g.AsX(), unit)
	chunks(k, func(v, w, count, row reg.GPVirtual) (lo, hi reg.VecVirtual) {
		acc := asm.ZeroY(4)
		return acc[0], acc[1]
	}, func(lo, hi reg.VecVirtual, v, w, row reg.GPVirtual) {
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
	}, func(lo, hi reg.VecVirtual, out, left reg.GPVirtual) {
		store8(k, lo, hi, unit, out, left)
	})
}

// chunks runs over 16 dimensions at a time: start makes the accumulators, block adds a block of 16 positions, finish stores.
func chunks(k *kernel, start func(v, w, count, row reg.GPVirtual) (lo, hi reg.VecVirtual),
	block func(lo, hi reg.VecVirtual, v, w, row reg.GPVirtual), finish func(lo, hi reg.VecVirtual, out, left reg.GPVirtual)) {
	out, left, at := k.load(argOut), k.load(argDim), k.load(argVAt)
	row := k.load(argPadDim)
	SHLQ(Imm(1), row)
	Label(k.label("chunk"))
	lo, hi := start(nil, nil, nil, nil)
	w := k.load(argWeights)
	k.pages("weigh", func(page, from, count reg.GPVirtual) {
		v := GP64()
		MOVQ(from, v)
		IMULQ(row, v)
		SHLQ(Imm(3), v)
		ADDQ(Mem{Base: page, Disp: pageV}, v)
		ADDQ(at, v)
		Label(k.label("weigh_block"))
		block(lo, hi, v, w, row)
		ADDQ(Imm(32), w)
		DECQ(count)
		JNZ(LabelRef(k.label("weigh_block")))
	})
	finish(lo, hi, out, left)
	ADDQ(Imm(32), at)
	ADDQ(Imm(64), out)
	SUBQ(Imm(16), left)
	JG(LabelRef(k.label("chunk")))
}

// store8 stores the first 8 and, if more than 8 are left, the other 8 sums in real numbers.
func store8(k *kernel, lo, hi, unit reg.VecVirtual, out, left reg.GPVirtual) {
	VCVTDQ2PS(lo, lo)
	VMULPS(unit, lo, lo)
	VMOVUPS(lo, Mem{Base: out})
	CMPQ(left, Imm(8))
	JLE(LabelRef(k.label("stored")))
	VCVTDQ2PS(hi, hi)
	VMULPS(unit, hi, hi)
	VMOVUPS(hi, Mem{Base: out, Disp: 32})
	Label(k.label("stored"))
}
