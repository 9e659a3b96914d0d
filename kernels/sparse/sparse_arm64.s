//go:build !purego

#include "textflag.h"

// Go's assembler has no SDOT, SMULL and SADALP on vectors.
#define SDOT(m, n, d) WORD $(0x4E809400 | (m)<<16 | (n)<<5 | (d))
#define SMULL(m, n, d) WORD $(0x0E20C000 | (m)<<16 | (n)<<5 | (d))
#define SMULL2(m, n, d) WORD $(0x4E20C000 | (m)<<16 | (n)<<5 | (d))
#define SADALP(n, d) WORD $(0x4E606800 | (n)<<5 | (d))

// WEIGHTS loads four blocks: their rows 0 and 2 into V24 to V27, their rows 1 and 3 into V28 to V31.
#define WEIGHTS \
	VLD1.P 64(R1), [V24.B16, V25.B16, V26.B16, V27.B16] \
	VLD1.P 64(R1), [V28.B16, V29.B16, V30.B16, V31.B16]

// ACTIVATIONS loads the eight activations of the next block, twice, into V16.
#define ACTIVATIONS \
	MOVHU.P 2(R2), R8 \
	ADD     R8<<3, R6, R9 \
	VLD1R   (R9), [V16.D2]

// Two rows of a block to a register: two lanes of sums for each row.
#define BLOCKSDOT(w, a) \
	ACTIVATIONS \
	SDOT(16, w, a) \
	SDOT(16, (w+4), (a+1))

#define QUADSDOT(a) \
	WEIGHTS \
	BLOCKSDOT(24, a) \
	BLOCKSDOT(25, (a+2)) \
	BLOCKSDOT(26, (a+4)) \
	BLOCKSDOT(27, (a+6))

// A pair of products of 127·127 fits 16 bits.
#define BLOCKNEON(w, a) \
	ACTIVATIONS \
	SMULL(16, w, 20) \
	SMULL2(16, w, 21) \
	SMULL(16, (w+4), 22) \
	SMULL2(16, (w+4), 23) \
	VADDP V21.H8, V20.H8, V20.H8 \
	VADDP V23.H8, V22.H8, V22.H8 \
	SADALP(20, a) \
	SADALP(22, (a+1))

#define QUADNEON(a) \
	WEIGHTS \
	BLOCKNEON(24, a) \
	BLOCKNEON(25, (a+2)) \
	BLOCKNEON(26, (a+4)) \
	BLOCKNEON(27, (a+6))

// PLACE adds the lanes of a block row, a of rows 0 and 2 and b of rows 1 and 3, and what is in acc already if R10 is 1,
// and stores the four sums.
#define PLACE(a, b) \
	VTRN1  b.S4, a.S4, V16.S4 \
	VTRN2  b.S4, a.S4, V17.S4 \
	VADD   V17.S4, V16.S4, V16.S4 \
	MOVW.P 4(R4), R8 \
	ADD    R8<<3, R0, R9 \
	VLD1   (R9), [V17.S4] \
	VAND   V19.B16, V17.B16, V17.B16 \
	VADD   V17.S4, V16.S4, V16.S4 \
	VST1   [V16.S4], (R9)

// func mulSDOT1(acc *int32, at *[5]*byte, x *int8, slices, add int)
TEXT ·mulSDOT1(SB), NOSPLIT, $0-40
	MOVD acc+0(FP), R0
	MOVD at+8(FP), R5
	LDP  0(R5), (R1, R2)
	LDP  16(R5), (R3, R4)
	MOVD x+16(FP), R6
	MOVD slices+24(FP), R7
	MOVD add+32(FP), R10
	NEG  R10, R10
	VDUP R10, V19.D2

sslice:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V12.B16, V12.B16, V12.B16
	VEOR V13.B16, V13.B16, V13.B16
	VEOR V14.B16, V14.B16, V14.B16
	VEOR V15.B16, V15.B16, V15.B16
	MOVWU.P 4(R3), R5
	CBZ     R5, sone

sstep:
	QUADSDOT(0)
	QUADSDOT(8)
	SUBS $1, R5, R5
	BNE  sstep

sone:
	MOVWU.P 4(R3), R5
	CBZ     R5, sstore

shalf:
	QUADSDOT(0)
	SUBS $1, R5, R5
	BNE  shalf

sstore:
	PLACE(V0, V1)
	PLACE(V2, V3)
	PLACE(V4, V5)
	PLACE(V6, V7)
	PLACE(V8, V9)
	PLACE(V10, V11)
	PLACE(V12, V13)
	PLACE(V14, V15)
	SUBS $1, R7, R7
	BNE  sslice
	RET

// func mulNEON1(acc *int32, at *[5]*byte, x *int8, slices, add int)
TEXT ·mulNEON1(SB), NOSPLIT, $0-40
	MOVD acc+0(FP), R0
	MOVD at+8(FP), R5
	LDP  0(R5), (R1, R2)
	LDP  16(R5), (R3, R4)
	MOVD x+16(FP), R6
	MOVD slices+24(FP), R7
	MOVD add+32(FP), R10
	NEG  R10, R10
	VDUP R10, V19.D2

nslice:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V12.B16, V12.B16, V12.B16
	VEOR V13.B16, V13.B16, V13.B16
	VEOR V14.B16, V14.B16, V14.B16
	VEOR V15.B16, V15.B16, V15.B16
	MOVWU.P 4(R3), R5
	CBZ     R5, none

nstep:
	QUADNEON(0)
	QUADNEON(8)
	SUBS $1, R5, R5
	BNE  nstep

none:
	MOVWU.P 4(R3), R5
	CBZ     R5, nstore

nhalf:
	QUADNEON(0)
	SUBS $1, R5, R5
	BNE  nhalf

nstore:
	PLACE(V0, V1)
	PLACE(V2, V3)
	PLACE(V4, V5)
	PLACE(V6, V7)
	PLACE(V8, V9)
	PLACE(V10, V11)
	PLACE(V12, V13)
	PLACE(V14, V15)
	SUBS $1, R7, R7
	BNE  nslice
	RET
