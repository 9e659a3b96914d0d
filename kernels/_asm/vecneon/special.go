package main

// The kernels that are no plain maps or sums; registers are chosen by hand.

// reductions generates the largest magnitude and the largest value of each of eight lanes.
func (o *output) reductions() {
	f := &function{}
	o.begin(f, "absMax", "x []float32, lanes *[8]float32", "lanes[i%8] = the largest of it and |x[i]|, compared as unsigned integers")
	f.line("CBZ R10, done")
	f.line("MOVD $constants<>(SB), R11")
	f.line("FMOVQ %d(R11), F4", tableOffset(0x7fffffff))
	f.line("FMOVQ 0(R1), F0")
	f.line("FMOVQ 16(R1), F1")
	f.b.WriteString("loop:\n")
	f.line("FMOVQ 0(R0), F2")
	f.line("FMOVQ 16(R0), F3")
	f.rrr(and, "AND", 2, 2, 4)
	f.rrr(and, "AND", 3, 3, 4)
	f.rrr(umax, "UMAX", 0, 0, 2)
	f.rrr(umax, "UMAX", 1, 1, 3)
	f.line("ADD $32, R0")
	o.endLanes(f)

	f = &function{}
	o.begin(f, "max", "x []float32, lanes *[8]float32", "if x[i] > lanes[i%8] { lanes[i%8] = x[i] }")
	f.line("CBZ R10, done")
	f.line("FMOVQ 0(R1), F0")
	f.line("FMOVQ 16(R1), F1")
	f.b.WriteString("loop:\n")
	f.line("FMOVQ 0(R0), F2")
	f.line("FMOVQ 16(R0), F3")
	f.rrr(fcmgt, "FCMGT", 4, 2, 0)
	f.rrr(fcmgt, "FCMGT", 5, 3, 1)
	f.rrr(bit, "BIT", 0, 2, 4)
	f.rrr(bit, "BIT", 1, 3, 5)
	f.line("ADD $32, R0")
	o.endLanes(f)
}

// endLanes closes the loop and stores V0 and V1 to lanes, which R1 points to.
func (o *output) endLanes(f *function) {
	f.line("SUBS $1, R10")
	f.line("BNE loop")
	f.line("FMOVQ F0, 0(R1)")
	f.line("FMOVQ F1, 16(R1)")
	f.b.WriteString("done:\n")
	o.end(f)
}

func (o *output) quantize() {
	f := &function{}
	o.begin(f, "quantize", "q []int8, x []float32, inv float32", "quantizeGeneric")
	f.line("CBZ R10, done")
	f.line("FMOVS inv+48(FP), F16")
	f.line("VDUP V16.S[0], V16.S4")
	f.line("MOVD $constants<>(SB), R11")
	f.line("FMOVQ %d(R11), F17", tableOffset(1<<31))
	f.line("FMOVQ %d(R11), F18", tableOffset(0x3f000000))
	f.b.WriteString("loop:\n")
	f.line("FMOVQ 0(R1), F0")
	f.line("FMOVQ 16(R1), F1")
	for h := range 2 {
		f.rrr(fmul, "FMUL", h, h, 16)
		f.rrr(and, "AND", 2+h, h, 17)
		f.rrr(orr, "ORR", 2+h, 2+h, 18)
		f.rrr(fadd, "FADD", h, h, 2+h)
		f.rr(fcvtzs, "FCVTZS", h, h)
	}
	f.rr(xtn, "XTN", 2, 0)
	f.rr(xtn2, "XTN2", 2, 1)
	f.rr(xtnB, "XTN", 2, 2)
	f.line("FMOVD F2, 0(R0)")
	f.line("ADD $8, R0")
	f.line("ADD $32, R1")
	f.line("SUBS $1, R10")
	f.line("BNE loop")
	f.b.WriteString("done:\n")
	o.end(f)
}

func (o *output) dequantize() {
	f := &function{}
	o.begin(f, "dequantize", "dst []float32, q []int8, s float32", "dst[i] = float32(q[i]) * s")
	f.line("CBZ R10, done")
	f.line("FMOVS s+48(FP), F16")
	f.line("VDUP V16.S[0], V16.S4")
	f.b.WriteString("loop:\n")
	f.line("FMOVD 0(R1), F2")
	f.rr(sshllB, "SSHLL", 2, 2)
	f.rr(sshll, "SSHLL", 0, 2)
	f.rr(sshll2, "SSHLL2", 1, 2)
	for h := range 2 {
		f.rr(scvtf, "SCVTF", h, h)
		f.rrr(fmul, "FMUL", h, h, 16)
	}
	f.line("FMOVQ F0, 0(R0)")
	f.line("FMOVQ F1, 16(R0)")
	f.line("ADD $32, R0")
	f.line("ADD $8, R1")
	f.line("SUBS $1, R10")
	f.line("BNE loop")
	f.b.WriteString("done:\n")
	o.end(f)
}
