// Package data feeds training and evaluation.
//
// A [Source] is stateless: the batch of a step is a pure function of the source
// and the step, so a resumed run needs no data state and draws exactly the
// batches that the uninterrupted run would have drawn. Hash identifies a source;
// a resumed run compares it to refuse other data. [Text] crops a stream of
// tokens, [Examples] visits prompts with answers, epoch by epoch in an order
// that the seed fixes. [TextEval] and [ExamplesEval] walk a held-out part once:
// every target is scored exactly once.
//
// A [Batch] holds R rows of T time steps, flat and row-major. Weights is the
// loss mask: a target of weight 0 is not trained on and not scored, and a mean
// loss divides by the sum of the weights, never by R·T. Micro-batches are views
// of rows of one batch, so accumulating them can divide by the sum of the whole.
//
// [LoadCorpus] reads text, [Split] cuts off the held-out part, and
// [CheckDisjoint] and [CheckExamples] refuse data that would be both learned (or
// calibrated, or selected) on and tested on.
//
// Losses are compared in bits per byte of the original UTF-8 ([BitsPerByte]),
// because nats per token of two vocabularies are different units.
//
// Of mito it imports engine/tokenizer, engine/files and backend/memlimit only. A test holds it to that.
package data
