// Package onnx writes models as ONNX, opset 18, for onnxruntime and what else runs such graphs.
//
// Every shape that mito has can be said, windows and layers of unequal shape too: the graph is made of basic operators. Names
// are those of Hugging Face's exports:
//
//	in   input_ids                     [batch, tokens] int64
//	     past_key_values.L.key, .value [batch, kv_heads, past, head_dim] float32, of each layer L; past is 0 at the beginning
//	out  logits                        [batch, tokens, vocab] float32
//	     present.L.key, .value         [batch, kv_heads, past+tokens, head_dim], to be given as past with the next tokens
//
// Positions go on from the past, keys are stored turned, and a token sees the past and itself; there is no mask for padding,
// so the sequences of a batch are of one length. The context bounds past+tokens: beyond it the graph fails.
//
// An INT8 student keeps its codes: matrices are int8 with one scale a row, behind DequantizeLinear (the embedding's rows after
// they are looked up). What they are multiplied by, and queries, keys and values of each head, goes through QuantizeLinear and
// DequantizeLinear where the student rounds to INT8, each row with the scale of its largest element. So the graph computes what
// SPEC.md says but for the order of float sums and the 15 bits of attention's weights. Logits agree to the last digits until a
// value lies so near the edge of two codes that the graph takes the other one; from there on, as keys and values are kept, they
// differ by about a step of INT8. The digest is not that of the student.
//
// The configuration and the tokenizer lie in metadata_props, under "mito.config" and "tokenizer.json"; the weights are
// initializers under mito's names and in mito's layout. [Read] finds them by these. It does not interpret graphs, so files of
// other programs are not read.
//
// The messages are those of onnx.proto3 (github.com/onnx/onnx); proto.go writes the few fields that are needed.
package onnx
