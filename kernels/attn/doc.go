// Package attn computes causal self-attention on the CPU, without a T x T matrix of scores in memory.
//
// [Forward] and [Backward] work on whole sequences in float32, for training; their products are those of package gemm, so
// their bits follow its variant. Decoding attends from single positions to a cache of earlier keys and values; over the
// INT8 cache its arithmetic is that of the student's specification, the same bits in every variant.
//
// Letters: B batch, T time, H query heads, G key and value heads, D head dimension.
package attn
