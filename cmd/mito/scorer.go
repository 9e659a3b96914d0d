package main

import (
	"github.com/spf13/pflag"

	"mito/engine/task"
)

// scorerFlag is a program that marks answers.
type scorerFlag struct{ command string }

func (f *scorerFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.command, "scorer", "", `examples, commands: a program, with its arguments, that marks answers too; it reads lines "prompt, tab, answer" and writes for each a line with a number from 0 to 1, or right or wrong`)
}

// check refuses a scorer where there are no answers to mark.
func (f *scorerFlag) check(work workFlags) error {
	if f.command == "" {
		return nil
	}
	if work.examples == "" {
		if t, err := task.Lookup(work.task); err != nil || !task.Ends(t) {
			return usagef("--scorer marks answers that are texts: give --examples, or a task that has such answers (commands)")
		}
	}
	return nil
}

// start starts the program; done ends it. Without one the marker is nil.
func (f *scorerFlag) start() (m task.Marker, done func(), err error) {
	if f.command == "" {
		return nil, func() {}, nil
	}
	s, err := task.StartScorer(f.command, task.ScorerPatience)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}
