// Package llama2c writes models as the .bin files of llama2.c (github.com/karpathy/llama2.c), and reads them: version 0,
// float32, for run.c, and version 2, INT8 in groups, for runq.c.
//
// Both programs compute one architecture: RMSNorm with an epsilon of 1e-5, RoPE on the base 10000 with pairs of neighbours,
// SwiGLU, heads of dim/n_heads, no biases and no QK-norm. Other models are refused with what differs.
//
//	version 0: seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; vocab_size is negative where
//	           the head is not the embedding), then float32: embedding; for all layers norm1, wq, wk, wv, wo, norm2, w1 (gate),
//	           w2 (down), w3 (up); the final norm; tables of RoPE, which nobody reads; the head
//	version 2: 256 bytes ("ak42" as a number, 2, the seven with vocab_size positive, a byte: whether the head is the
//	           embedding, the size of a group), then the norms as float32; then embedding, wq, wk, wv, wo, w1, w2, w3 and head,
//	           each layer's matrix as its int8 codes and then the float32 scales of its groups
//
// A group divides dim and hidden_dim, so that none crosses a row.
//
// The tokenizer goes into tokenizer.bin: for each token a score, by which merges are chosen, and its bytes. run.c puts token 1
// and a space before a prompt, as Llama's tokenizer has it, and takes bytes that are no token for ids from 3 on.
package llama2c
