// Package search plans which students of a trained parent are tried under a budget, and keeps what came of each.
//
// A trial is a description: what stays of the parent's layers, heads and neurons (structured pruning), how many 4×8 blocks of its
// matrices are zero and how far that may differ between matrices, or how many bits the weights of which parts have, and the training
// that recovers. Its name is the hash of the description, and its outcome lies on disk under that name, so that a search goes on
// where it stopped and another machine can run a trial. What a trial costs is known before it is trained: its bytes by the size of
// the file that it would be, its speed by decoding with weights of its shape and sparsity on this machine.
//
// Trials run by successive halving (Jamieson and Talwalkar, arXiv:1502.07943, as in Hyperband, arXiv:1603.06560): many with few
// steps, the best third with three times as many, and so on. Plain block sparsity that is the same everywhere, and bits that are, are
// trials that every round keeps: a search that does not beat them says so. The result is the Pareto front of bytes and loss.
//
// It imports mito/engine/arch, mito/engine/checkpoint, mito/engine/compress/quant, mito/engine/decode, mito/engine/files and mito/engine/student.
package search
