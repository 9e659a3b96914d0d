//go:build !purego

#include "textflag.h"

// Go's assembler has no SDOT, SMULL, SMLAL, SADALP and SXTL on vectors, nor most of what follows them here.
#define SDOT(m, n, d) WORD $(0x4E809400 | (m)<<16 | (n)<<5 | (d))
#define SMULL(m, n, d) WORD $(0x0E20C000 | (m)<<16 | (n)<<5 | (d))
#define SMULL2(m, n, d) WORD $(0x4E20C000 | (m)<<16 | (n)<<5 | (d))
#define SADALP(n, d) WORD $(0x4E606800 | (n)<<5 | (d))
#define SXTL(n, d) WORD $(0x0F08A400 | (n)<<5 | (d))
#define SXTL2(n, d) WORD $(0x4F08A400 | (n)<<5 | (d))
#define SMLALH(m, n, d) WORD $(0x0E608000 | (m)<<16 | (n)<<5 | (d))
#define SMLALH2(m, n, d) WORD $(0x4E608000 | (m)<<16 | (n)<<5 | (d))
#define SCVTF4S(n, d) WORD $(0x4E21D800 | (n)<<5 | (d))
#define FMUL4S(m, n, d) WORD $(0x6E20DC00 | (m)<<16 | (n)<<5 | (d))
#define FCVTZS4S(n, d) WORD $(0x4EA1B800 | (n)<<5 | (d))
#define FACGT4S(m, n, d) WORD $(0x6EA0EC00 | (m)<<16 | (n)<<5 | (d))
#define SUB4S(m, n, d) WORD $(0x6EA08400 | (m)<<16 | (n)<<5 | (d))
#define UQXTN4H(n, d) WORD $(0x2E614800 | (n)<<5 | (d))
#define UQXTN8H(n, d) WORD $(0x6E614800 | (n)<<5 | (d))
#define XTN4H(n, d) WORD $(0x0E612800 | (n)<<5 | (d))
#define XTN8H(n, d) WORD $(0x4E612800 | (n)<<5 | (d))
#define USHR11H(n, d) WORD $(0x6F150400 | (n)<<5 | (d))
#define SHL5H(n, d) WORD $(0x4F155400 | (n)<<5 | (d))
#define USHR1H(n, d) WORD $(0x6F1F0400 | (n)<<5 | (d))
#define SQRDMULH8H(m, n, d) WORD $(0x6E60B400 | (m)<<16 | (n)<<5 | (d))
#define SUB8H(m, n, d) WORD $(0x6E608400 | (m)<<16 | (n)<<5 | (d))
#define NEG8H(n, d) WORD $(0x6E60B800 | (n)<<5 | (d))
#define URSHL8H(m, n, d) WORD $(0x6E605400 | (m)<<16 | (n)<<5 | (d))
#define UADALP8H(n, d) WORD $(0x6E606800 | (n)<<5 | (d))

// func unitsNEON(y *int32, ks *float32, blocks int, c float32)
TEXT ·unitsNEON(SB), NOSPLIT, $0-28
	MOVD  y+0(FP), R0
	MOVD  ks+8(FP), R1
	MOVD  blocks+16(FP), R2
	MOVWU c+24(FP), R3
	VDUP  R3, V0.S4
	MOVD  $0x4E000000, R3 // 2^29
	VDUP  R3, V1.S4
	MOVD  $0x80000000, R3
	VDUP  R3, V2.S4

ublock:
	VLD1   (R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	SCVTF4S(4, 4)
	SCVTF4S(5, 5)
	SCVTF4S(6, 6)
	SCVTF4S(7, 7)
	FMUL4S(0, 16, 16)
	FMUL4S(0, 17, 17)
	FMUL4S(0, 18, 18)
	FMUL4S(0, 19, 19)
	FMUL4S(16, 4, 4)
	FMUL4S(17, 5, 5)
	FMUL4S(18, 6, 6)
	FMUL4S(19, 7, 7)
	FACGT4S(4, 1, 16)
	FACGT4S(5, 1, 17)
	FACGT4S(6, 1, 18)
	FACGT4S(7, 1, 19)
	FCVTZS4S(4, 4)
	FCVTZS4S(5, 5)
	FCVTZS4S(6, 6)
	FCVTZS4S(7, 7)
	VBSL   V2.B16, V4.B16, V16.B16
	VBSL   V2.B16, V5.B16, V17.B16
	VBSL   V2.B16, V6.B16, V18.B16
	VBSL   V2.B16, V7.B16, V19.B16
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)
	SUBS   $1, R2, R2
	BNE    ublock
	RET

// func weightsNEON(w *int16, y *int32, vs *float32, n int, best int32, unit float32) uint32
TEXT ·weightsNEON(SB), NOSPLIT, $0-44
	MOVD  w+0(FP), R0
	MOVD  y+8(FP), R1
	MOVD  vs+16(FP), R2
	MOVD  n+24(FP), R3
	MOVWU best+32(FP), R4
	VDUP  R4, V0.S4
	MOVWU unit+36(FP), R4
	VDUP  R4, V1.S4
	MOVD  $1261, R4
	VDUP  R4, V2.H8
	MOVD  $7512, R4
	VDUP  R4, V3.H8
	MOVD  $22632, R4
	VDUP  R4, V4.H8
	MOVD  $32767, R4
	VDUP  R4, V5.H8
	VEOR  V6.B16, V6.B16, V6.B16

weights:
	VLD1.P 32(R1), [V16.S4, V17.S4]
	VLD1.P 32(R2), [V18.S4, V19.S4]
	SUB4S(16, 0, 16)
	SUB4S(17, 0, 17)
	UQXTN4H(16, 20)
	UQXTN8H(17, 20)
	USHR11H(20, 21)
	NEG8H(21, 21)
	SHL5H(20, 20)
	USHR1H(20, 20) // (d mod 2048)·16
	SQRDMULH8H(20, 2, 22)
	SUB8H(22, 3, 22)
	SQRDMULH8H(20, 22, 22)
	SUB8H(22, 4, 22)
	SQRDMULH8H(20, 22, 22)
	SUB8H(22, 5, 22)
	URSHL8H(21, 22, 22) // (a + 2^(n-1)) >> n is ((2a >> n) + 1) >> 1
	UADALP8H(22, 6)
	FMUL4S(1, 18, 18)
	FMUL4S(1, 19, 19)
	FCVTZS4S(18, 18)
	FCVTZS4S(19, 19)
	XTN4H(18, 23)
	XTN8H(19, 23)
	SQRDMULH8H(23, 22, 22)
	VST1.P [V22.H8], 16(R0)
	SUBS   $1, R3, R3
	BNE    weights
	VADDV  V6.S4, V6
	VMOV   V6.S[0], R4
	MOVW   R4, ret+40(FP)
	RET

// func keysSDOT(acc *int32, k, q *int8, groups, blocks int)
TEXT ·keysSDOT(SB), NOSPLIT, $0-40
	MOVD acc+0(FP), R0
	MOVD k+8(FP), R1
	MOVD q+16(FP), R2
	MOVD groups+24(FP), R3
	MOVD blocks+32(FP), R4

sblock:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	MOVD R2, R5
	MOVD R3, R6

sgroup:
	MOVWU.P 4(R5), R7
	VDUP    R7, V16.S4
	VLD1.P  64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	SDOT(16, 17, 0)
	SDOT(16, 18, 1)
	SDOT(16, 19, 2)
	SDOT(16, 20, 3)
	SUBS    $1, R6, R6
	BNE     sgroup
	VST1.P  [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS    $1, R4, R4
	BNE     sblock
	RET

// func keysNEON(acc *int32, k, q *int8, groups, blocks int)
// A position has two lanes of sums, which the end adds.
TEXT ·keysNEON(SB), NOSPLIT, $0-40
	MOVD acc+0(FP), R0
	MOVD k+8(FP), R1
	MOVD q+16(FP), R2
	MOVD groups+24(FP), R3
	MOVD blocks+32(FP), R4

nblock:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	MOVD R2, R5
	MOVD R3, R6

ngroup:
	MOVWU.P 4(R5), R7
	VDUP    R7, V16.S4
	VLD1.P  64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	SMULL(16, 17, 24)
	SMULL2(16, 17, 25)
	SMULL(16, 18, 26)
	SMULL2(16, 18, 27)
	SMULL(16, 19, 28)
	SMULL2(16, 19, 29)
	SMULL(16, 20, 30)
	SMULL2(16, 20, 31)
	SADALP(24, 0)
	SADALP(25, 1)
	SADALP(26, 2)
	SADALP(27, 3)
	SADALP(28, 4)
	SADALP(29, 5)
	SADALP(30, 6)
	SADALP(31, 7)
	SUBS $1, R6, R6
	BNE  ngroup
	VADDP  V1.S4, V0.S4, V0.S4
	VADDP  V3.S4, V2.S4, V1.S4
	VADDP  V5.S4, V4.S4, V2.S4
	VADDP  V7.S4, V6.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $1, R4, R4
	BNE    nblock
	RET

// func valuesNEON(acc *int32, w *int16, v *int8, pairs, row, chunks int)
// A dimension has two lanes of sums, one for each position of a pair, which the end adds.
TEXT ·valuesNEON(SB), NOSPLIT, $0-48
	MOVD acc+0(FP), R0
	MOVD w+8(FP), R1
	MOVD v+16(FP), R2
	MOVD pairs+24(FP), R3
	MOVD row+32(FP), R4
	MOVD chunks+40(FP), R5

chunk:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	MOVD R1, R6
	MOVD R2, R7
	MOVD R3, R8

pair:
	MOVWU.P 4(R6), R9
	VDUP    R9, V16.S4
	VLD1    (R7), [V17.B16, V18.B16]
	ADD     R4, R7, R7
	SXTL(17, 20)
	SXTL2(17, 21)
	SXTL(18, 22)
	SXTL2(18, 23)
	SMLALH(16, 20, 0)
	SMLALH2(16, 20, 1)
	SMLALH(16, 21, 2)
	SMLALH2(16, 21, 3)
	SMLALH(16, 22, 4)
	SMLALH2(16, 22, 5)
	SMLALH(16, 23, 6)
	SMLALH2(16, 23, 7)
	SUBS   $1, R8, R8
	BNE    pair
	VADDP  V1.S4, V0.S4, V0.S4
	VADDP  V3.S4, V2.S4, V1.S4
	VADDP  V5.S4, V4.S4, V2.S4
	VADDP  V7.S4, V6.S4, V3.S4
	VLD1   (R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	VADD   V4.S4, V0.S4, V0.S4
	VADD   V5.S4, V1.S4, V1.S4
	VADD   V6.S4, V2.S4, V2.S4
	VADD   V7.S4, V3.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	ADD    $32, R2, R2
	SUBS   $1, R5, R5
	BNE    chunk
	RET
