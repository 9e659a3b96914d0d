// Package prune makes a float model sparse or smaller after training.
//
// Kinds that mask leave the shapes and set weights of the matrices inside the layers to zero: unstructured, in the 4×8 blocks
// that kernels/sparse multiplies by, or two of every four neighbours. Structured kinds remove key/value heads with the query
// heads that share them, neurons of the MLPs, whole layers or channels of the residual stream; what is left is a smaller model
// of its own configuration.
//
// What goes is what has the least score:
//
//	magnitude   w²
//	wanda       w²·E[x²], x the weight's input (Sun et al., arXiv:2306.11695)
//	taylor      Σ (g·w)² over batches, g the gradient of the loss (Molchanov et al., arXiv:1906.10771)
//	obc         the least error of the layer's output, after all other weights have moved to make up for it: SparseGPT for
//	            masks (Frantar and Alistarh, arXiv:2301.00774), exact removal of columns for heads and neurons (the step of
//	            OBC, arXiv:2208.11580, with groups)
//
// Scores add up: that of a block, a head or a layer is the sum over its weights.
//
// A mask is 1 where a weight lives and 0 where it is zero and stays so. It is raised at once, or with the cubic schedule of Zhu
// and Gupta (arXiv:1710.01878) while the model trains on. config.json records every pruning, and the exact zeros of the matrices
// that it names are the mask: whoever trains the model further finds it by MasksOf.
//
// It imports mito/backend, mito/engine/arch, data, files, model and train, mito/engine/compress/hessian, and mito/engine/compress/quant for the
// hashes of calibration data. A test holds it to that.
//
// Letters: N rows (outputs) and K columns (inputs) of a matrix, H = E[x·xᵀ] [K,K] of its input, S a set of columns; of the model
// C width, H heads, G key/value heads, D head width, F width of the MLP.
package prune
