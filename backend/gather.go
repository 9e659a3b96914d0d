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
