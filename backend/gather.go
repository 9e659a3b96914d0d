package backend

import "gorgonia.org/tensor"

// Gatherer is implemented by backends that cut training batches out of tokens in their own memory, so that a step
// uploads where its rows begin instead of the rows.
type Gatherer interface {
	// GatherRows sets inputs[r,t] = tokens[starts[r]+t] and targets[r,t] = tokens[starts[r]+t+1]. What lies outside
	// tokens gives the id -1.
	//
	//	inputs, targets [B,T] i32   tokens [L] i32   starts [B] i32
	GatherRows(inputs, targets, tokens, starts *tensor.Dense) error
}

// CheckGatherRows checks GatherRows and returns B, T and L.
func CheckGatherRows(b tensor.Engine, inputs, targets, tokens, starts *tensor.Dense) (rows, time, length int, err error) {
	c := checker{owner: b, op: "GatherRows"}
	if c.is("inputs", inputs, I32) {
		rows, time = Rows(inputs)
	}
	c.matrix("targets", targets, I32, rows, time)
	c.vector("starts", starts, I32, rows)
	if c.is("tokens", tokens, I32) {
		length = tokens.Shape().TotalSize()
	}
	return rows, time, length, c.err
}
