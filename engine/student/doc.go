// Package student is the runtime of the shipped model: an INT8 decoder whose logits have the same bits on every machine.
//
// SPEC.md, beside this file, states the arithmetic, complete enough to write it again in one C file. In short: weights are
// INT8 with a scale per output row, activations INT8 with a scale per token, keys and values INT8 with a scale per head and
// token, products are summed exactly in INT32, and what lies between is float32 with every operation rounded once and every
// sum in a stated order (kernels/vec, kernels/kv). So the bits depend neither on the kernel variant nor on the number of
// threads, the batch, the page size of the cache, nor on whether a prompt came at once or token by token.
//
// A [Model] is immutable and may be used from several goroutines. A [Session] holds the key/value caches of a batch of
// sequences and belongs to one goroutine at a time. Nothing is allocated per decoded token.
//
// How weights are stored and sums are made is a linear's own matter (linear.go); what lies between products does not know it.
//
// The package imports the standard library, engine/arch, engine/session with its adapters and the kernels that run INT8 (not those that train)
// only. A test holds it to that, with all that these import in turn.
//
// Letters: V vocabulary, C width, L layers, H heads, G key/value heads, D head dim, F MLP width, P page size.
package student
