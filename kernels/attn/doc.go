// Package attn computes causal self-attention on the CPU, without a T x T matrix of scores in memory.
//
// [Forward] and [Backward] work on whole sequences in float32, for training; their products are those of package gemm, so
// their bits follow its variant. [DecodeShape] attends from single positions to float32 pages of earlier keys and values; over
// INT8 pages package kv does, which the student ships.
//
// Letters: B batch, T time, H query heads, G key and value heads, D head dimension.
package attn
