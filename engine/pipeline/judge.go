package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mito/engine/checkpoint"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/report"
	"mito/engine/task"
)

// eval is the evaluation on a split.
func (j *job) eval(split task.Split) (data.Eval, error) {
	if e := j.evals[split]; e != nil {
		return e, nil
	}
	e, err := j.w.Eval(split, evalRows)
	if err == nil {
		j.evals[split] = e
	}
	return e, err
}

// judge evaluates, scores and times the models and fills the report. Every loss is that of the runtime that decodes: what
// a training backend computes in other precision cannot be compared with it.
func (j *job) judge(ctx context.Context) error {
	var candidates []report.Candidate
	for _, e := range j.plan() {
		var err error
		if e.row != "" {
			err = j.compareWith(ctx, e)
		} else {
			var c report.Candidate
			c, err = j.measure(ctx, e)
			candidates = append(candidates, c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	j.r.SetCandidates(candidates)
	if j.Preset.ShipAll && (j.Choice == nil || !j.Choice.Search) {
		j.note("What ships was trained on all positions of the task, which can be listed; its loss is on these positions. The held-out loss is that of the student without the test positions.")
	}
	if _, none := j.w.Task.(interface{ Floor() float64 }); none {
		j.note("Nothing can be learnt here: no model has a mean loss below %.4f nats on what it has not seen, but by chance; the student has %.4f.",
			j.w.EntropyFloor(j.judges), j.r.Compressed.LossNats)
	} else if j.w.Task != nil {
		j.note("The least loss that the several right answers allow is %.4f nats on the positions evaluated.", j.w.EntropyFloor(j.judges))
	}
	if err := j.baseline(ctx); err != nil {
		return err
	}
	j.note("INT8 against its float student: loss %s.", change(j.r.Student.LossNats, j.r.Compressed.LossNats))
	return nil
}

// change is how much larger a loss became, in percent.
func change(before, after report.Number) string {
	return fmt.Sprintf("%+.3f%%", 100*(float64(after)/float64(before)-1))
}

func (j *job) note(format string, args ...any) {
	j.r.Notes = append(j.r.Notes, fmt.Sprintf(format, args...))
}

// measure measures a candidate.
func (j *job) measure(ctx context.Context, e entry) (c report.Candidate, err error) {
	m := j.made[e.name]
	rt, err := decode.Open(m.dir, decode.Options{Threads: j.Threads})
	if err != nil {
		return c, err
	}
	defer closing(rt, &err)
	c = report.Candidate{
		Name: e.name, Parent: e.parent, Scheme: m.scheme, Bits: report.Number(m.bits), Sparsity: report.Number(m.sparsity),
		Digest: m.digest, Variants: m.variants,
	}
	if c.Model, err = j.evaluate(ctx, m, rt, e.judge); err != nil {
		return c, err
	}
	if c.ActiveBytes, err = activeBytes(m.dir, rt, c.Bytes); err != nil {
		return c, err
	}
	var rate eval.Speed
	c.Disturbed, err = j.watch.Measure(ctx, j.Threads, func() (err error) {
		rate, err = eval.Measure(ctx, rt, j.Measure)
		return err
	})
	if err != nil {
		return c, err
	}
	c.Speed = report.Number(rate.TokensPerSecond)
	if j.w.Task == nil {
		return c, j.sample(ctx, e.name, rt)
	}
	player, err := NewPlayer(ctx, rt, j.w.Task)
	if err != nil {
		return c, err
	}
	return c, j.play(ctx, e.name, player, &c.Model, j.contests())
}

// evaluate is what every model of a report has: its size and its loss.
func (j *job) evaluate(ctx context.Context, m made, rt decode.Runtime, split task.Split) (report.Model, error) {
	held, err := j.eval(split)
	if err == nil && m.foreign != nil && m.foreign.Hash() != j.w.Tokenizer.Hash() {
		held, err = j.w.Foreign(m.foreign, split, min(j.w.Context, rt.Context()))
		j.note("%s has tokens of its own, and its loss and its rate are of those: compare bits per byte.", relative(j.Out, m.dir))
	}
	if err != nil {
		return report.Model{}, err
	}
	loss, err := eval.Loss(ctx, rt, held)
	if err != nil {
		return report.Model{}, err
	}
	stored, err := storedBytes(m.dir, rt)
	if err != nil {
		return report.Model{}, err
	}
	return report.Model{
		Dir: relative(j.Out, m.dir), Params: int64(rt.Params()), Bytes: stored,
		LossNats: report.Number(loss.PerToken()), BitsPerByte: report.Number(loss.BitsPerByte()),
	}, nil
}

// compareWith reports a model that does not ship.
func (j *job) compareWith(ctx context.Context, e entry) (err error) {
	dir := j.made[e.name].dir
	rt, err := decode.Open(dir, decode.Options{Threads: j.Threads})
	if err != nil {
		return err
	}
	defer closing(rt, &err)
	m, err := j.evaluate(ctx, j.made[e.name], rt, e.judge)
	j.r.Rows = append(j.r.Rows, report.Row{Name: e.row, Note: e.note, TokensPerSecond: report.NotMeasured, Model: m})
	return err
}

// activeBytes is how many of the stored bytes of a model's weights one token reads: all of them, but of a table that is only
// looked up, which is an embedding that is not the output head too or a per-layer one, one row.
func activeBytes(dir string, rt decode.Runtime, stored int64) (int64, error) {
	f, err := checkpoint.Open(dir)
	if err != nil {
		return 0, err
	}
	c := rt.Config()
	for _, m := range c.Modules() {
		if !c.OnlyLookup(m) {
			continue
		}
		table := int64(4*m.Rows) * int64(m.Cols)
		if rt.Kind() == decode.Int8 {
			table = 0
			for _, t := range f.Weights.Tensors { // weights or codes, and scales
				if strings.HasPrefix(t.Name, m.Name+".") {
					table += int64(len(t.Data))
				}
			}
		}
		stored -= table - table/int64(m.Rows)
	}
	return stored, nil
}

// storedBytes is what the weights of a model take: of a student the tensors of its file without the header, where zero blocks take
// nothing, and in float32 of others.
func storedBytes(dir string, rt decode.Runtime) (int64, error) {
	if rt.Kind() != decode.Int8 {
		return int64(rt.Bytes()), nil
	}
	f, err := checkpoint.Open(dir)
	if err != nil {
		return 0, err
	}
	return f.Weights.Bytes(), nil
}

func relative(out, dir string) string {
	if rel, err := filepath.Rel(out, dir); err == nil {
		return rel
	}
	return dir
}
