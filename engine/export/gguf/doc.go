// Package gguf writes models as GGUF version 3, the files of llama.cpp, and reads such files.
//
// The format is described at github.com/ggml-org/ggml/blob/master/docs/gguf.md; what the keys of an architecture are, and
// the order of its rows, is what llama.cpp's loader reads (compared with release v0.5.0, by bench/peers/runtimes.py):
//
//	arcee       RMSNorm, RoPE, ReLU²                      rows of query and key interleaved
//	apertus     the same with QK-norm                     the head is written even where it is tied; xIELU set to be ReLU²
//	llama       RMSNorm, RoPE, SwiGLU                     rows of query and key interleaved
//	qwen3       the same with QK-norm
//	gpt2        LayerNorm, learned positions, GELU        query, key and value are one matrix; biases, of zeros where the model has none
//	starcoder2  LayerNorm, RoPE, GELU                     biases likewise
//	stablelm    LayerNorm, RoPE, SwiGLU                   the head is written even where it is tied
//
// What none of them computes is refused with the reason: windows that are narrower than the context, layers of unequal
// shape, ReLU and GELU behind RMSNorm.
//
// Matrices are written as F32, F16, Q8_0 or Q4_0; norms, biases and learned positions stay F32, as llama.cpp's own
// converter leaves them, and so do matrices whose rows are no multiple of the 32 elements of a block: they become F16.
// Tensors of the same types, and of BF16, are read; others are refused by name.
//
// A byte-level BPE becomes the tokenizer model "gpt2". So do characters: each is one token, and one of several bytes gets
// the merges that join them. llama.cpp drops characters that the model has no token for, where mito refuses the text.
//
// Where a model has no token that ends a text, llama.cpp's "gpt2" takes token 11 for it, whatever that is. Characters of one
// byte each are then written as the model "rwkv", the longest token first, which has no such default. For others there is no
// way to say so: llama.cpp needs --ignore-eos. It does not bring texts into a Unicode form, as tokenizers of Qwen's kind do, and
// its patterns of GPT-4o's and Mistral's kinds are simpler than those of the models. [Notes] tells of each.
package gguf
