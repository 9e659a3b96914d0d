// Package decode runs trained models: it opens a checkpoint folder as a [Runtime], float32 or INT8 alike, and builds on
// that what needs a model's logits: text generation, players of tasks, losses over held-out data, and speeds.
//
// The INT8 runtime is engine/student, whose bits its SPEC.md fixes. The float32 runtime is of this package: the model of
// engine/model over the kernels, with a key/value cache and no backend. Its results do not depend on threads, on the
// batch, or on how tokens are split over Prefill, Score and Step.
//
// Letters: B batch, T time, C width, H heads, G key/value heads, D head width, F width of the MLP, V vocabulary.
package decode
