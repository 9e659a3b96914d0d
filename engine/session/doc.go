// Package session is the part of decoding that does not depend on how a model computes: sequences of a batch, their key/value pages
// with sharing and copy-on-write, checks, and the handing out of rows to threads. The INT8 student and the float32 runtime
// are both a [Model] of it.
//
// It is part of what the student ships: it imports the standard library, kernels/parallel and kernels/sentinel only. A test holds it to that.
//
// Letters: V vocabulary, L layers.
package session
