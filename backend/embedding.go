package backend

import "gorgonia.org/tensor"

// Embedding groups table look-ups and rotary positions.
type Embedding interface {
	// Embed computes dst[n] = table[ids[n]], or adds that to dst. Ids outside the table are an error on the CPU
	// and must be prevented by the caller elsewhere.
	//
	//	dst [N,C] f32   table [V,C] f32   ids [N] i32
	Embed(dst, table, ids *tensor.Dense, accumulate bool) error
	// EmbedBackward adds dy[n] to dtable[ids[n]], in row order.
	EmbedBackward(dtable, dy, ids *tensor.Dense) error

	// RoPE rotates each head in place by the angle of its position, arXiv:2104.09864, pairing channel i with
	// i+D/2 as Hugging Face Llama does. inverse rotates back, which is the backward pass.
	//
	//	x [N,H·D] act   positions [N] i32   cos, sin [P,D/2] f32 with every position below P
	RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error
}
