// Package report writes down what a run did, while it runs and at its end.
//
// While it runs: [Metrics] appends one JSON object a line to metrics.jsonl, and [Events] writes the same numbers as an
// event file that TensorBoard opens. Both can be continued from a checkpoint: what a killed run logged after that
// checkpoint is dropped, so that a resumed log is the log of a run that was never killed.
//
// At its end: [Report] is the result of a pipeline as scripts read it (report.json), as people read it (report.md, with
// its candidates side by side: teacher, student, compressed student and what else was made), with its loss curves as a
// picture (SVG), and as one page for browsers (report.html) with pictures of what loss costs in bytes and speed, games on a
// board and texts.
//
// Losses are mean negative log likelihoods in nats a token; bits per byte compares models of different vocabularies;
// sizes are bytes of weights, a file's tensors without its header; rates are tokens a second.
//
// Of mito it imports engine/files only. A test holds it to that.
package report
