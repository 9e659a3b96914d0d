//go:build !purego

#include "textflag.h"

// Go's assembler has no SDOT, SMULL, SMLAL, SADALP and SXTL on vectors.
#define SDOT(m, n, d) WORD $(0x4E809400 | (m)<<16 | (n)<<5 | (d))
#define SMULL(m, n, d) WORD $(0x0E20C000 | (m)<<16 | (n)<<5 | (d))
#define SMULL2(m, n, d) WORD $(0x4E20C000 | (m)<<16 | (n)<<5 | (d))
#define SADALP(n, d) WORD $(0x4E606800 | (n)<<5 | (d))
#define SXTL(n, d) WORD $(0x0F08A400 | (n)<<5 | (d))
#define SXTL2(n, d) WORD $(0x4F08A400 | (n)<<5 | (d))
#define SMLALH(m, n, d) WORD $(0x0E608000 | (m)<<16 | (n)<<5 | (d))
#define SMLALH2(m, n, d) WORD $(0x4E608000 | (m)<<16 | (n)<<5 | (d))

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
