// Package runs knows the folder of a run: which names lie in it, where its model is, and who may write there.
//
//	OUT/mito.json        the marker by which mito knows its own
//	OUT/model/           what the run made: a checkpoint
//	OUT/last/            the checkpoint that --resume goes on from, with its training state
//	OUT/best/            the best by the evaluation
//	OUT/metrics.jsonl    what was measured at each step; event files for TensorBoard beside it
//	OUT/teacher.cache    what the teachers said, where it is kept
//	OUT/.mito-lock       while a process works there
//
// The folder of a pipeline holds such a folder for each model that it fits (teacher, student, …), the INT8 student
// (compressed) and the report.
//
// Of mito the package imports engine/files and engine/checkpoint, with what these import.
package runs
