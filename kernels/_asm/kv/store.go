package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// quantScales finds the largest magnitude a of dim floats and returns 127/a in every lane and a/127 in lane 0, both 0 where
// vec.QuantizeRow gives the scale 0. It jumps to fail where that gives NaN.
func quantScales(label string, x, dim reg.GPVirtual, fail string) (inv, scale reg.VecVirtual) {
	p, n := GP64(), GP64()
	abs, a8 := YMM(), YMM()
	VMOVUPS(bits(0x7fffffff), abs)
	VXORPS(a8, a8, a8)
	MOVQ(x, p)
	MOVQ(dim, n)
	Label(label)
	t := YMM()
	VANDPS(Mem{Base: p}, abs, t)
	VPMAXUD(t, a8, a8)
	ADDQ(Imm(32), p)
	SUBQ(Imm(8), n)
	JNZ(LabelRef(label))
	a := humax(a8)
	ai := GP32()
	VMOVD(a.AsX(), ai)
	CMPL(ai, U32(0x7f7fffff))
	JA(LabelRef(fail))
	top := XMM()
	inv, scale = YMM(), YMM()
	VXORPS(inv, inv, inv)
	VXORPS(scale, scale, scale)
	CMPL(ai, U32(0x24000000)) // 2^-55
	JB(LabelRef(label + "_zero"))
	VMOVSS(f32(127), top)
	VDIVSS(a.AsX(), top, inv.AsX())
	VDIVSS(top, a.AsX(), scale.AsX())
	VBROADCASTSS(inv.AsX(), inv)
	Label(label + "_zero")
	return inv, scale
}

// quantize8 returns eight elements times inv, rounded half away from zero, as int32.
func quantize8(x reg.GPVirtual, inv reg.VecVirtual) reg.VecVirtual {
	v, half := YMM(), YMM()
	VMULPS(Mem{Base: x}, inv, v)
	VANDPS(bits(0x80000000), v, half)
	VORPS(f32(0.5), half, half)
	VADDPS(half, v, v)
	VCVTTPS2DQ(v, v)
	return v
}

// pack8 makes eight int32 eight int8 in the lower half of the lower half.
func pack8(v reg.VecVirtual) {
	hi := XMM()
	VEXTRACTI128(Imm(1), v, hi)
	VPACKSSDW(hi, v.AsX(), v.AsX())
	VPACKSSWB(v.AsX(), v.AsX(), v.AsX())
}

// store generates the quantisation of a token's keys and values into a page.
func store() {
	const name = "storeQS8AVX2"
	TEXT(name, NOSPLIT, "func(k, v *float32, kp, vp *int8, ks, vs *float32, heads, dim, kStep, vStep, sStep, odd int) bool")
	Doc(name+" quantises heads·dim keys and values by vec.QuantizeRow. dim is a multiple of 8.", "",
		"Keys go to kp, four dimensions each 64 bytes; values to every second byte of vp, the upper ones if odd is 1; scales to ks and vs.",
		"From head to head kp, vp and both of ks and vs advance by kStep, vStep and sStep bytes. It returns false, perhaps with part",
		"written, when a scale is not finite.")
	k, v := asm.LoadInt("k"), asm.LoadInt("v")
	kp, vp, ks, vs := asm.LoadInt("kp"), asm.LoadInt("vp"), asm.LoadInt("ks"), asm.LoadInt("vs")
	heads, dim := asm.LoadInt("heads"), asm.LoadInt("dim")
	odd := asm.LoadInt("odd")
	shift, keep := XMM(), XMM()
	SHLQ(Imm(3), odd)
	VMOVQ(odd, shift)
	VMOVUPS(bits(0x00ff00ff), keep)
	t := XMM()
	VPCMPEQB(t, t, t)
	VPSLLW(shift, keep, keep) // where the new bytes go
	VPXOR(t, keep, keep)

	Label(name + "_head")
	inv, scale := quantScales(name+"_kmax", k, dim, name+"_fail")
	VMOVSS(scale.AsX(), Mem{Base: ks})
	p, n := GP64(), GP64()
	MOVQ(kp, p)
	MOVQ(dim, n)
	Label(name + "_key")
	x := quantize8(k, inv)
	pack8(x)
	VMOVD(x.AsX(), Mem{Base: p})
	VPEXTRD(Imm(1), x.AsX(), Mem{Base: p, Disp: 64})
	ADDQ(Imm(32), k)
	ADDQ(U32(128), p)
	SUBQ(Imm(8), n)
	JNZ(LabelRef(name + "_key"))

	inv, scale = quantScales(name+"_vmax", v, dim, name+"_fail")
	VMOVSS(scale.AsX(), Mem{Base: vs})
	MOVQ(vp, p)
	MOVQ(dim, n)
	Label(name + "_value")
	y, old := quantize8(v, inv), XMM()
	pack8(y)
	VPMOVZXBW(y.AsX(), y.AsX())
	VPSLLW(shift, y.AsX(), y.AsX())
	VPAND(Mem{Base: p}, keep, old)
	VPOR(old, y.AsX(), y.AsX())
	VMOVDQU(y.AsX(), Mem{Base: p})
	ADDQ(Imm(32), v)
	ADDQ(Imm(16), p)
	SUBQ(Imm(8), n)
	JNZ(LabelRef(name + "_value"))
	for _, s := range []struct {
		p    []reg.GPVirtual
		step string
	}{{[]reg.GPVirtual{kp}, "kStep"}, {[]reg.GPVirtual{vp}, "vStep"}, {[]reg.GPVirtual{ks, vs}, "sStep"}} {
		step := asm.LoadInt(s.step)
		for _, p := range s.p {
			ADDQ(step, p)
		}
	}
	DECQ(heads)
	JNZ(LabelRef(name + "_head"))
	ok := asm.Result()
	MOVB(U8(1), ok)
	asm.Ret()
	Label(name + "_fail")
	MOVB(U8(0), ok)
	asm.Ret()
}
