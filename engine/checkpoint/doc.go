// Package checkpoint reads and writes what mito keeps on disk: safetensors files, Hugging Face model folders, the
// compressed-tensors description of INT8 weights, and the training state beside them.
//
// A checkpoint comes from somewhere else and is not trusted. Every reader checks sizes before it allocates, bounds before
// it slices and ranges before it returns, and answers with an error that says which file, which tensor and what was
// expected. [FormatError] carries one of the Err values below, so that a caller can tell truncation from a wrong type.
//
// A write never leaves a half. [SaveFile] and [SaveDir] write under a temporary name in the same parent folder, sync the
// bytes and the folder, and only then put the new name in place; whatever fails before that point leaves the old
// content as it was. See [SaveDir] for what a killed process can leave behind and how [Recover] tidies it.
//
// A folder that mito made carries a marker ([MarkerName]) or a config.json with model_type "mito". Anything else is
// foreign, and is neither replaced nor removed.
//
// The package knows bytes, names and shapes. What the tensors mean is engine/model's business.
package checkpoint
