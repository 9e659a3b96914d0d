// Package quant turns float weights into the INT8 weights of the student after training, and keeps them on disk.
//
// Every matrix gets one scale per output row, symmetric, values in [-127,127]; activations are quantised by the runtime. The
// scale of a row is searched: clipping the largest weights a little makes the steps of all others finer, and the scale
// that leaves the smallest squared error, weighted by the mean squares of the inputs where a calibration gives them, wins.
//
// Fewer than 8 bits (bits.go, codes.go) are codes: the 32 neighbours of a group in a row share a small integer, and a code times it
// is an INT8 weight exactly, so that the student computes with what it always computes with and only its file shrinks.
//
// On disk a student is a Hugging Face folder with the keys of compressed-tensors (engine/checkpoint): INT8 weights and
// float32 scales, gains and biases, and no float copy of a matrix.
//
// Of mito it imports engine/arch, engine/checkpoint, engine/compress/hessian, engine/export/hf, engine/student, kernels/sentinel and kernels/vec only. A test holds it to that.
package quant
