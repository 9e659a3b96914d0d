// Package seam runs the INT8 student through the operations of a [mito/backend.Backend], whole sequences at a time,
// following engine/student/SPEC.md. Its logits have the bits of the edge runtime, so [Digest] proves on a GPU what the
// device will compute, and evaluation of a student runs where training does.
//
// Letters as in package backend: B batch, T time, C channels, H query heads, G key/value heads, D head width, F width of
// the MLP, V vocabulary, N rows = B·T.
//
// Of mito it imports backend, engine/arch and engine/student only. A test holds it to that.
package seam
