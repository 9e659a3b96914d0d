// Package train fits a model to a source of batches.
//
// A run is a pure function of its options, its source and its seed: the batch, the dropout masks and the learning
// rate of a step are computed from the step's number alone, so a resumed run needs no generator state and reaches
// bitwise the weights of an uninterrupted one. A batch cut into micro-batches gives bitwise the weights of the
// whole batch, for any number of them and of threads, because losses are divided by the weight of the whole batch
// and gradients are sums in the order of the tokens.
//
// A run may learn from some of its targets only (NewChoice) and leave tokens out of the layers between the first and the last
// (Options.DropTokens). Both follow from the step, the seed and the weights, so that what is said above holds for them too.
//
// Of mito it imports backend, engine/arch, engine/checkpoint, engine/data and engine/model only. A test holds it to that.
package train
