// Package decode runs trained models: it opens a checkpoint folder as a [Runtime], float32 or INT8 alike, and writes text with it.
// What is judged by a model's logits, losses and players, is in engine/eval.
//
// The INT8 runtime is engine/student, whose bits its SPEC.md fixes. The float32 runtime is of this package: the model of
// engine/model over the kernels, with a key/value cache and no backend. Both are models of engine/session, which holds their
// sequences. Their results do not depend on threads, on the batch, on the page size of the cache, or on how tokens are split
// over Prefill, Score and Step.
//
// Text comes from a [Generator]: several texts side by side, each with its own sampler, stop strings and sliding context. A
// [Speculator] may guess how texts go on; the generator verifies several tokens at once and rolls back what it does not
// accept. A [Transcript] says what was written and how, and proves it in one pass over each finished text.
//
// It imports the engine's readers (arch, files, checkpoint, compress/quant, model, runs, tokenizer), grammar, session, student and the
// kernels of decoding; no backend, no task, nothing that trains. A test holds it to that.
//
// Letters: B batch, T time, C width, H heads, G key/value heads, D head width, F width of the MLP, V vocabulary.
package decode
