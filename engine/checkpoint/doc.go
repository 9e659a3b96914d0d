// Package checkpoint reads and writes what mito keeps on disk: safetensors files, Hugging Face model folders, the
// compressed-tensors description of INT8 weights, and the training state beside them.
//
// A checkpoint comes from somewhere else and is not trusted. Every reader checks sizes before it allocates, bounds before
// it slices and ranges before it returns, and answers with an error that says which file, which tensor and what was
// expected. [FormatError] carries one of the Err values below, so that a caller can tell truncation from a wrong type.
//
// Writing is atomic, see package files: a folder holds the old checkpoint or the whole new one. What a run goes on from is
// tied together by hashes in state.json, which has one of itself: what was damaged or mixed is refused.
//
// The package knows bytes, names and shapes. What the tensors mean is engine/model's business. Of mito it imports
// engine/files and kernels/sentinel only.
package checkpoint
