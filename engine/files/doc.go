// Package files is how mito treats the disk: atomic replacement of files and folders, strict JSON, ownership and locks.
//
// A write never leaves a half. [SaveFile] and [SaveDir] write under a temporary name in the same parent folder, sync the
// bytes and the folder, and only then put the new name in place; whatever fails before that point leaves the old
// content as it was. See [SaveDir] for what a killed process can leave behind and how [Recover] tidies it.
//
// A folder that mito made carries a marker ([MarkerName]) or a config.json with model_type "mito". Anything else is
// foreign, and is neither replaced nor removed. Of temporary files, those are removed whose name says that mito made them
// and that no running process holds.
//
// One process writes to an output at a time, which a [Lock] sees to.
//
// What is read is not trusted: sizes are bounded, files that are none (pipes, devices) are refused before they are opened,
// and JSON is held to the letter, see [DecodeJSON].
//
// The package knows nothing of what it stores. It imports the standard library and golang.org/x/sys only, and anything in
// engine may import it.
package files
