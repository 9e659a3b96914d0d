// Package pipeline joins the parts of the engine into the jobs that the commands run: open a task or a corpus, fit
// a model into a folder, evaluate and score it, and the whole way from a task to a proven INT8 student with a
// report.
//
// The models of a pipeline are the entries of one list, that of plan: what is made, from what, and what the report says of it
// follow from there. Another model is another entry.
//
// A fitted model lives in a run folder:
//
//	model/            the result, as a Hugging Face folder: with --qat the INT8 student, whose float weights are in last/
//	last/ best/       checkpoints; last holds the training state that --resume continues
//	metrics.jsonl     one line for every logged step and evaluation
//	events…           the same for TensorBoard
package pipeline
