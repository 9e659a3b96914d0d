package main

import (
	"github.com/spf13/pflag"

	"mito/engine/distill"
	"mito/engine/pipeline"
	"mito/engine/tokenizer"
)

// teacherFlags name models that teach, and the tokens of their student.
type teacherFlags struct {
	dirs   []string
	kind   string
	hashes []string // of their tokenizers
}

func (f *teacherFlags) register(fs *pflag.FlagSet, about string) {
	fs.StringArrayVar(&f.dirs, "teacher", nil, about)
	fs.StringVar(&f.kind, "tokenizer", "teacher", "tokens of the student: teacher (the same as the teacher's), or of its own, chars or bytes of a corpus, which "+
		"it then learns on the level of the text")
}

func (f *teacherFlags) check(fs *pflag.FlagSet) error {
	switch f.kind {
	case "teacher":
	case "chars", "bytes":
		if fs.Changed("task") {
			return usagef("--tokenizer %s and --task contradict each other: of a task, teacher and student have the same tokens", f.kind)
		}
	default:
		return usagef("--tokenizer is %q, want teacher, chars or bytes", f.kind)
	}
	if len(f.dirs) == 0 {
		return without(fs, "a run without --teacher", "tokenizer")
	}
	return without(fs, "--teacher", "teachers", "assistant", "bpe")
}

// tokens is the tokenizer of the student, nil for characters of the corpus.
func (f *teacherFlags) tokens() (tok tokenizer.Tokenizer, err error) {
	for i, dir := range f.dirs {
		if f.dirs[i], err = modelFolder("--teacher", dir); err != nil {
			return nil, err
		}
		t, err := tokenizer.Load(f.dirs[i])
		if err != nil {
			return nil, err
		}
		f.hashes = append(f.hashes, t.Hash())
		if i == 0 && f.kind == "teacher" {
			tok = t
		}
	}
	if f.kind == "bytes" {
		return pipeline.Bytes()
	}
	return tok, nil
}

// same says that a workload has the tokens of all teachers.
func (f *teacherFlags) same(w *pipeline.Workload) bool {
	for _, hash := range f.hashes {
		if hash != w.Tokenizer.Hash() {
			return false
		}
	}
	return true
}

// temper takes the temperature of teachers with other tokens: a sum over tokens is no logit that wants softening.
func (f *teacherFlags) temper(o *distill.Options, w *pipeline.Workload) error {
	if !f.same(w) {
		o.Temperature = 1
	}
	return o.Validate()
}
