// Package asm holds what the generators share.
package asm

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Begin restricts the generated files to amd64 without the tag purego.
func Begin() { ConstraintExpr("amd64,!purego") }

// Ret clears the upper halves of the vector registers, which SSE code after it would pay for, and returns.
func Ret() {
	VZEROUPPER()
	RET()
}

// ZeroY returns n YMM registers set to zero.
func ZeroY(n int) []reg.VecVirtual {
	z := make([]reg.VecVirtual, n)
	for i := range z {
		z[i] = YMM()
		VXORPS(z[i], z[i], z[i])
	}
	return z
}

// ZeroZ returns n ZMM registers set to zero. VPXORD is AVX-512F; VXORPS would need DQ.
func ZeroZ(n int) []reg.VecVirtual {
	z := make([]reg.VecVirtual, n)
	for i := range z {
		z[i] = ZMM()
		VPXORD(z[i], z[i], z[i])
	}
	return z
}

// Ones16 returns sixteen int16 ones in a YMM register, the factor with which VPMADDWD only adds pairs.
func Ones16() reg.VecVirtual {
	o := YMM()
	VPCMPEQW(o, o, o)
	VPSRLW(Imm(15), o, o)
	return o
}

// LoadInt loads the named integer or pointer parameter.
func LoadInt(name string) reg.GPVirtual {
	r, ok := Load(Param(name), GP64()).(reg.GPVirtual)
	if !ok {
		panic("asm: parameter " + name + " is not a 64-bit integer")
	}
	return r
}

// LoadF32 loads the named float32 parameter. Load would use an instruction of SSE, which costs some processors over a hundred
// cycles once the upper half of a register has been written.
func LoadF32(name string) reg.VecVirtual {
	x := XMM()
	VMOVSS(address(Param(name)), x)
	return x
}

// StoreF32 stores lane 0 of x as a result, in place of Store for the same reason.
func StoreF32(x Op, result gotypes.Component) { VMOVSS(x, address(result)) }

func address(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// Result returns where the function's first result lies.
func Result() Mem { return address(ReturnIndex(0)) }

// Fold reduces the eight lanes of a YMM register with op and leaves the result in lane 0, in the stated order for sums.
func Fold(v reg.VecVirtual, op func(a, b, d reg.VecVirtual)) reg.VecVirtual {
	h, d := XMM(), XMM()
	VEXTRACTF128(Imm(1), v, h)
	op(h, v.AsX().(reg.VecVirtual), d)
	for _, order := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(order), d, h)
		op(h, d, d)
	}
	return d
}
