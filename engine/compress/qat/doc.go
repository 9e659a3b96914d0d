// Package qat trains a model while its passes compute what its INT8 student computes: quantisation-aware training.
//
// The forward pass is the student's arithmetic itself (engine/student/SPEC.md), through the backend's operations of the student, so
// that the logits of a step are bitwise those of the student that would ship after it. The backward pass is that of the float
// model: roundings pass gradients straight through (Bengio et al., arXiv:1308.3432), but a weight that lies beyond the largest
// code gets none. Scales are learned (Esser et al., LSQ, arXiv:1902.08153), begun from quant's search; a scale is kept as its
// logarithm u, so that a step of the optimiser is a share of it. With x = w/(s·m), code c = round(x) clipped to [-L,L], the
// integer m of the group of 32 (1 of whole weights), and g the gradient of the rounded weight s·m·c:
//
//	dw = g where |x| ≤ L+1/2, else 0
//	du = s·Σ g·m·(c - x)    (c where |x| > L+1/2)
//	dm = s·Σ g·(c - x)      (the same), m kept as a real number that is rounded
//
// Activations are rounded by the token, at run time: no scale sees a later token.
//
// Codes are made on the host at the beginning of every step, and gradients finished there at its end; between them passes are
// the backend's alone, and may be recorded.
//
// Of mito it imports backend, engine/arch, engine/compress/quant, engine/model and engine/student only. A test holds it to that.
package qat
