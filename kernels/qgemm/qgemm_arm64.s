//go:build !purego

#include "textflag.h"

// Go's assembler has no SDOT, SMULL and SADALP on vectors.
#define SDOT(m, idx, n, d) WORD $(0x4F80E000 | (((idx)&1)<<21) | (m)<<16 | (((idx)>>1)<<11) | (n)<<5 | (d))
#define SMULL(m, n, d) WORD $(0x0E20C000 | (m)<<16 | (n)<<5 | (d))
#define SMULL2(m, n, d) WORD $(0x4E20C000 | (m)<<16 | (n)<<5 | (d))
#define SMLAL(m, n, d) WORD $(0x0E208000 | (m)<<16 | (n)<<5 | (d))
#define SMLAL2(m, n, d) WORD $(0x4E208000 | (m)<<16 | (n)<<5 | (d))
#define SADALP(n, d) WORD $(0x4E606800 | (n)<<5 | (d))

// func mul1SDOT(acc *int32, w, x *int8, blocks, k4, skip int)
// Eight registers hold the sums of 32 rows; x gives four columns to every lane.
TEXT ·mul1SDOT(SB), NOSPLIT, $0-48
	MOVD acc+0(FP), R0
	MOVD w+8(FP), R1
	MOVD x+16(FP), R2
	MOVD blocks+24(FP), R3
	MOVD k4+32(FP), R4
	MOVD skip+40(FP), R5

block:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	MOVD R2, R6
	SUBS $4, R4, R7
	BLT  rest

four:
	VLD1.P 16(R6), [V16.B16]
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	VLD1.P 64(R1), [V21.B16, V22.B16, V23.B16, V24.B16]
	SDOT(16, 0, 17, 0)
	SDOT(16, 0, 18, 1)
	SDOT(16, 0, 19, 2)
	SDOT(16, 0, 20, 3)
	SDOT(16, 0, 21, 4)
	SDOT(16, 0, 22, 5)
	SDOT(16, 0, 23, 6)
	SDOT(16, 0, 24, 7)
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	VLD1.P 64(R1), [V21.B16, V22.B16, V23.B16, V24.B16]
	SDOT(16, 1, 17, 0)
	SDOT(16, 1, 18, 1)
	SDOT(16, 1, 19, 2)
	SDOT(16, 1, 20, 3)
	SDOT(16, 1, 21, 4)
	SDOT(16, 1, 22, 5)
	SDOT(16, 1, 23, 6)
	SDOT(16, 1, 24, 7)
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	VLD1.P 64(R1), [V21.B16, V22.B16, V23.B16, V24.B16]
	SDOT(16, 2, 17, 0)
	SDOT(16, 2, 18, 1)
	SDOT(16, 2, 19, 2)
	SDOT(16, 2, 20, 3)
	SDOT(16, 2, 21, 4)
	SDOT(16, 2, 22, 5)
	SDOT(16, 2, 23, 6)
	SDOT(16, 2, 24, 7)
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	VLD1.P 64(R1), [V21.B16, V22.B16, V23.B16, V24.B16]
	SDOT(16, 3, 17, 0)
	SDOT(16, 3, 18, 1)
	SDOT(16, 3, 19, 2)
	SDOT(16, 3, 20, 3)
	SDOT(16, 3, 21, 4)
	SDOT(16, 3, 22, 5)
	SDOT(16, 3, 23, 6)
	SDOT(16, 3, 24, 7)
	SUBS   $4, R7, R7
	BGE    four

rest:
	ADDS $4, R7, R7
	BEQ  store

one:
	MOVWU  (R6), R8
	ADD    $4, R6, R6
	VDUP   R8, V16.S4
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16]
	VLD1.P 64(R1), [V21.B16, V22.B16, V23.B16, V24.B16]
	SDOT(16, 0, 17, 0)
	SDOT(16, 0, 18, 1)
	SDOT(16, 0, 19, 2)
	SDOT(16, 0, 20, 3)
	SDOT(16, 0, 21, 4)
	SDOT(16, 0, 22, 5)
	SDOT(16, 0, 23, 6)
	SDOT(16, 0, 24, 7)
	SUBS   $1, R7, R7
	BNE    one

store:
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	ADD    R5, R1, R1
	SUBS   $1, R3, R3
	BNE    block
	RET

// The products of two columns of a row are neighbours in 16 bits; a 32-bit lane of a sum takes such a pair, so a row has
// two lanes, which the end adds. Two products of 127·127 fit 16 bits: a group is multiplied, the next one added to it.
#define GROUP(op, op2) \
	VLD1.P 64(R1), [V17.B16, V18.B16, V19.B16, V20.B16] \
	op(16, 17, 24) \
	op2(16, 17, 25) \
	op(16, 18, 26) \
	op2(16, 18, 27) \
	op(16, 19, 28) \
	op2(16, 19, 29) \
	op(16, 20, 30) \
	op2(16, 20, 31)

#define SUMS \
	SADALP(24, 0) \
	SADALP(25, 1) \
	SADALP(26, 2) \
	SADALP(27, 3) \
	SADALP(28, 4) \
	SADALP(29, 5) \
	SADALP(30, 6) \
	SADALP(31, 7)

// func mul1NEON(acc *int32, w, x *int8, blocks, k4, skip int)
// A block is done in two halves of 16 rows: eight sums, eight products and the factors are all the registers there are.
TEXT ·mul1NEON(SB), NOSPLIT, $0-48
	MOVD acc+0(FP), R0
	MOVD w+8(FP), R1
	MOVD x+16(FP), R2
	MOVD blocks+24(FP), R3
	MOVD k4+32(FP), R4
	MOVD skip+40(FP), R5

nblock:
	MOVD R1, R9
	MOVD $2, R10

nhalf:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	MOVD R2, R6
	MOVD R4, R7

ntwo:
	MOVWU (R6), R8
	ADD   $4, R6, R6
	VDUP  R8, V16.S4
	GROUP(SMULL, SMULL2)
	ADD   $64, R1, R1
	SUBS  $1, R7, R7
	BEQ   nlast
	MOVWU (R6), R8
	ADD   $4, R6, R6
	VDUP  R8, V16.S4
	GROUP(SMLAL, SMLAL2)
	ADD   $64, R1, R1
	SUMS
	SUBS  $1, R7, R7
	BNE   ntwo
	B     nstore

nlast:
	SUMS

nstore:
	VADDP  V1.S4, V0.S4, V0.S4
	VADDP  V3.S4, V2.S4, V1.S4
	VADDP  V5.S4, V4.S4, V2.S4
	VADDP  V7.S4, V6.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	ADD    $64, R9, R1
	SUBS   $1, R10, R10
	BNE    nhalf

	// The second half has gone a whole block from its own start, 64 bytes behind the block's.
	LSL  $7, R4, R11
	ADD  R11, R9, R1
	ADD  R5, R1, R1
	SUBS $1, R3, R3
	BNE  nblock
	RET
