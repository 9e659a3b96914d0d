package pipeline

import (
	"context"
	"encoding/json"
	"fmt"

	"mito/engine/checkpoint"
	"mito/engine/compress/calibrate"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/files"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// OpenFloat reads a folder of float weights. INT8 students are refused.
func OpenFloat(dir string) (*checkpoint.Folder, *model.Weights, error) {
	f, err := checkpoint.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := checkFloat(f, dir, "its float weights are what INT8 is made of"); err != nil {
		return nil, nil, fmt.Errorf("quantize: %w", err)
	}
	w, err := model.ReadWeights(f)
	return f, w, err
}

// MaxCalibration is the number of sequences of so many tokens that a calibration may run over, 16 million tokens: means over
// fewer are settled long since, and they lie in memory at once, drawn in one piece that nothing interrupts.
func MaxCalibration(context int) int { return (1 << 24) / max(1, context) }

// Calibrate runs a float model over rows of the training split. Quantize, given the result, weighs its errors by what
// the model's matrices read there, and refuses rows that the held-out split has too. The rows come back beside it.
func Calibrate(ctx context.Context, floats *model.Weights, w *Workload, rows int, seed uint64, g calibrate.Options) (o quant.Options, sequences [][]int32, err error) {
	b, evaluation, err := samples(ctx, w, rows, seed)
	if err != nil {
		return o, nil, err
	}
	o.Evaluation = evaluation
	sequences = make([][]int32, b.Rows)
	for i := range sequences {
		sequences[i] = b.Inputs[i*b.Time:][:b.Time]
	}
	o.Calibration, err = calibrate.Run(ctx, floats, sequences, g)
	return o, sequences, err
}

// CalibrateSelf is Calibrate over text that the model writes itself, in rows of its context.
func CalibrateSelf(ctx context.Context, floats *model.Weights, rows int, seed uint64, g calibrate.Options) (o quant.Options, sequences [][]int32, err error) {
	if most := MaxCalibration(floats.Config.Context); rows < 1 || rows > most {
		return o, nil, fmt.Errorf("calibration over %d sequences of %d tokens: want 1 to %d sequences", rows, floats.Config.Context, most)
	}
	if sequences, err = calibrate.Generate(ctx, floats, rows, floats.Config.Context, seed); err != nil {
		return o, nil, err
	}
	o.Calibration, err = calibrate.Run(ctx, floats, sequences, g)
	return o, sequences, err
}

// samples draws rows of the training split, and lists what a model is judged by.
func samples(ctx context.Context, w *Workload, rows int, seed uint64) (b *data.Batch, evaluation *quant.Samples, err error) {
	if most := MaxCalibration(w.Context); rows < 1 || rows > most {
		return nil, nil, fmt.Errorf("calibration over %d sequences of %d tokens: want 1 to %d sequences", rows, w.Context, most)
	}
	source, err := w.Source(task.Train, rows, seed)
	if err != nil {
		return nil, nil, err
	}
	held, err := w.Eval(task.Test, 1)
	if err != nil {
		return nil, nil, err
	}
	b, evaluation = &data.Batch{}, &quant.Samples{}
	if err := source.Fill(b, 0); err != nil {
		return nil, nil, err
	}
	var row data.Batch
	for i := range held.Batches() {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := held.Fill(&row, i); err != nil {
			return nil, nil, err
		}
		evaluation.Add(row.Inputs)
	}
	return b, evaluation, nil
}

// Quantize makes the INT8 student of a float model folder and writes it, with the tokenizer, to dir, where nothing may lie.
// It returns what was saved, read back. Errors: *files.ForeignError that says what lies at dir, *files.InUseError, those of
// reading the model and of quantisation.
func Quantize(ctx context.Context, from, dir string, o quant.Options) (*student.Weights, *quant.Report, error) {
	return quantize(ctx, from, dir, o, runs.CheckFree)
}

// quantize asks free whether dir may be written, before the work and again when nobody else can write there.
func quantize(ctx context.Context, from, dir string, o quant.Options, free func(dir string) error) (_ *student.Weights, _ *quant.Report, err error) {
	if err := free(dir); err != nil {
		return nil, nil, err
	}
	lock, err := files.LockBeside(dir)
	if err != nil {
		return nil, nil, err
	}
	defer closing(closer(lock.Release), &err)
	if err := free(dir); err != nil {
		return nil, nil, err
	}
	f, floats, err := OpenFloat(from)
	if err != nil {
		return nil, nil, err
	}
	records, err := prune.ReadRecords(f.Config)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	if len(records) > 0 {
		if o.Pruning, err = json.Marshal(records); err != nil {
			return nil, nil, err
		}
		o.Blocks = records.Blocks()
	}
	w, r, err := quant.Quantize(ctx, floats.Config, floats.Tensors, o)
	if err != nil {
		return nil, nil, err
	}
	contents, err := quant.Contents(w, r)
	if err != nil {
		return nil, nil, err
	}
	contents.Generation = f.Generation
	if f.Tokenizer != "" {
		tok, err := tokenizer.Load(f.Tokenizer)
		if err != nil {
			return nil, nil, err
		}
		contents.SaveTokenizer = tok.Save
	}
	if err := checkpoint.Save(dir, contents); err != nil {
		return nil, nil, fmt.Errorf("saving %s: %w", dir, err)
	}
	w, err = quant.Load(dir)
	return w, r, err
}
