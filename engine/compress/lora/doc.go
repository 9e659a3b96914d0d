// Package lora adapts a frozen model by low-rank additions to its linear layers: LoRA, arXiv:2106.09685,
//
//	y = W·x + s·B·(A·x)   A [r,in], B [out,r], s = α/r, or α/√r with rsLoRA, arXiv:2312.03732
//
// A [Config] says which layers and how. [Config.Products] gives a model the products that train; an [Adapter] holds what came
// out in ordinary memory, is kept on disk in the files of PEFT, and is added to weights or taken out again by [Adapter.Merge]
// and [Adapter.Unmerge]. B starts at zero, so that an adapter begins as its base.
//
// The base stays frozen. It is float32, or the INT8 weights of a student expanded once (the idea of QLoRA, arXiv:2305.14314).
// Where only upper layers adapt, [Prefix] keeps what the layers below compute.
//
// The embedding and the output heads are never adapted: a tied head is the embedding, and an addition to the one would change
// the other.
//
// Letters: C width, r rank, s scale, T time; in and out are the columns and rows of a weight.
package lora
