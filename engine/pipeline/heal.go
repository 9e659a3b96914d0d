package pipeline

import (
	"context"
	"fmt"

	"mito/backend"
	"mito/engine/checkpoint"
	"mito/engine/distill"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/train"
)

// Healing is the training that follows a change of a trained model: it learns again what a teacher says, which is the model as
// it was.
type Healing struct {
	Dir, Out string // the float model; a folder for the result: of a model, or of a run where Train.Steps is more than 0
	Resume   bool   // continue the run in Out
	Teacher  string // folder of the model that teaches; "" for that of Dir

	// Distillation for Train.Steps steps on batches of Batch sequences, none for 0.
	Train   train.Options
	Batch   int
	Distill distill.Options
	Aware   *Aware // makes the run's model an INT8 student; nil for a float model
}

// check refuses what cannot be meant without steps.
func (o *Healing) check() error {
	if o.Train.Steps == 0 && o.Resume {
		return &train.OptionError{Field: "resume", Got: true, Want: "left out without steps of training: there is no run to continue"}
	}
	return nil
}

// heal trains the changed model of s.
func (o *Healing) heal(ctx context.Context, b backend.Backend, w *Workload, s *Start, name string, p Progress) (_ *Fitted, err error) {
	dir := o.Teacher
	if dir == "" {
		dir = o.Dir
	}
	teacher, err := OpenTeacher(b, dir)
	if err != nil {
		return nil, err
	}
	defer closing(teacher, &err)
	return Fit(ctx, b, w, FitOptions{
		Name: name, Dir: o.Out, Resume: o.Resume, Config: s.Config, Start: s, Train: o.Train, Rows: o.Batch,
		Split: task.Train, Judge: task.Test, Teachers: []*Teacher{teacher}, Distill: o.Distill, Aware: o.Aware,
	}, p)
}

// save writes a model that was changed and is not trained.
func (o *Healing) save(s *Start, w *Workload) (err error) {
	lock, err := files.LockBeside(o.Out)
	if err != nil {
		return err
	}
	defer closing(closer(lock.Release), &err)
	if err := runs.CheckFree(o.Out); err != nil {
		return err
	}
	var tensors []checkpoint.Tensor
	for _, t := range s.Config.Tensors() {
		tensors = append(tensors, checkpoint.FromF32(t.Name, t.Shape, s.weights.Tensors[t.Name]))
	}
	c, err := s.contents(s.Config, tensors, w)
	if err != nil {
		return err
	}
	if err := checkpoint.Save(o.Out, c); err != nil {
		return fmt.Errorf("saving %s: %w", o.Out, err)
	}
	return nil
}
