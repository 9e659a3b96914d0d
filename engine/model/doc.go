// Package model is the transformer: a configuration-driven causal decoder whose layers have an explicit Forward
// and an explicit Backward over the operations of a backend.
//
// The configuration covers GPT-2 (LayerNorm, learned positions, GELU, biases), Llama (RMSNorm, RoPE, GQA, SwiGLU)
// and mito's edge default (RMSNorm, RoPE, GQA, ReLU², no biases, tied embeddings). A [Model] holds parameters and
// gradients; [Activations] hold everything that depends on the batch, so one model can have several.
//
// Letters are those of package backend: B batch, T time, N = B·T, C width, H heads, G key/value heads, D head
// width, F width of the MLP, V vocabulary.
//
// Of mito it imports backend, engine/arch, engine/checkpoint and engine/export/hf only. A test holds it to that.
package model
