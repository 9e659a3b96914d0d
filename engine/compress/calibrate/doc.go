// Package calibrate runs a float model over training data to see what its matrices read: the statistics that compressions weigh
// their errors by.
//
// It imports engine/arch, engine/model, engine/decode for running the model, and engine/compress/quant for what it returns. A test
// holds it to that.
package calibrate
