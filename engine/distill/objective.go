package distill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/model"
	"mito/engine/train"
)

// Options are the settings of a distillation.
type Options struct {
	Temperature float64 `json:"temperature"` // τ
	Alpha       float64 `json:"alpha"`       // weight of the hard labels
	TopK        int     `json:"top_k"`       // with a cache: probabilities kept for a token
}

// Defaults are temperature 2 and equal weight of labels and teacher.
func Defaults() Options { return Options{Temperature: 2, Alpha: 0.5, TopK: 16} }

// leastTemperature bounds what logits are multiplied with. At it, tokens one nat apart have probabilities e^-100 apart: below
// there is nothing left to soften, and products would leave float32.
const leastTemperature = 0.01

// Validate refuses settings that cannot be; the error is a *train.OptionError.
func (o Options) Validate() error {
	switch {
	case !(o.Temperature >= leastTemperature && o.Temperature <= 100):
		return &train.OptionError{Field: "temperature", Got: o.Temperature, Want: fmt.Sprintf("%v to 100", leastTemperature)}
	case !(o.Alpha >= 0 && o.Alpha <= 1):
		return &train.OptionError{Field: "alpha", Got: o.Alpha, Want: "in [0,1]"}
	case o.TopK < 1:
		return &train.OptionError{Field: "top-k", Got: o.TopK, Want: "1 or more"}
	}
	return nil
}

// TokenizerError reports a teacher and a student that do not share their tokens: the teacher's probabilities would
// be those of other characters.
type TokenizerError struct{ Teacher, Student string } // hashes

func (e *TokenizerError) Error() string {
	return fmt.Sprintf("distill: teacher and student have different tokenizers (%.12s… and %.12s…); "+
		"train the student with the teacher's tokenizer.json, or the teacher anew; of a text, and with a student of characters or bytes "+
		"(--tokenizer chars or bytes), they may differ", e.Teacher, e.Student)
}

// CheckTokenizers compares the tokenizer hashes of a teacher and a student.
func CheckTokenizers(teacher, student string) error {
	if teacher != student {
		return &TokenizerError{Teacher: teacher, Student: student}
	}
	return nil
}

// Objective is the loss of a distillation. It implements train.Objective.
type Objective struct {
	b        backend.Backend
	o        Options
	labels   *train.Labels
	teachers []*model.Model
	cache    *Cache
	vocab    int
	sets     map[int]*set // by rows
	hash     string

	// Of teachers with other tokens than the student's.
	text    *Text
	symbols *tree
	aligned []*aligner
	starts  []int
}

// set is what a micro-batch of one size needs beside the student's activations.
type set struct {
	slab     backend.Slab
	ce, kl   *tensor.Dense        // [N]
	probs    *tensor.Dense        // [N,V], mean of the teachers
	teachers []*model.Activations // one for each
	ids      *tensor.Dense        // [N,K], with a cache
	top      *tensor.Dense        // [N,K]
	tail     *tensor.Dense        // [N]
	host     *Record
	row      []float32

	taught bool // probs are those of the batch that is next
}

// Check refuses teachers and settings that cannot teach a student rows of so many tokens. With a text the tokens of teachers
// are their own.
func Check(student *model.Model, teachers []*model.Model, tokens int, o Options, text *Text) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if len(teachers) == 0 {
		return errors.New("distill: no teacher given")
	}
	for i, t := range teachers {
		if backend.Base(t.Backend()) != backend.Base(student.Backend()) {
			return fmt.Errorf("distill: teacher %d lives on another backend than the student", i+1)
		}
		if text != nil {
			continue
		}
		if t.Config.VocabSize != student.Config.VocabSize {
			return fmt.Errorf("distill: teacher %d has a vocabulary of %d tokens, the student one of %d; they must share a tokenizer",
				i+1, t.Config.VocabSize, student.Config.VocabSize)
		}
		if t.Config.Context < tokens {
			return fmt.Errorf("distill: teacher %d has a context of %d tokens, the student's rows have %d; shorten the rows, or train a teacher with a longer context",
				i+1, t.Config.Context, tokens)
		}
	}
	if text == nil {
		return nil
	}
	if _, err := text.symbols(); err != nil {
		return err
	}
	for i, t := range teachers {
		if _, err := newAligner(text, t, &text.Teachers[i]); err != nil {
			return fmt.Errorf("teacher %d: %w", i+1, err)
		}
	}
	return nil
}

// New makes the objective of one or more teachers on the student's backend. labels is the hard part; the objective
// closes it. cache may be nil; with one, the first run writes what the teachers say and later runs read it.
func New(student *model.Model, labels *train.Labels, teachers []*model.Model, cache *Cache, o Options) (*Objective, error) {
	return NewOfText(student, labels, teachers, cache, o, nil)
}

// NewOfText is New for teachers with tokens of their own, which have a text in common with the student; nil for the same
// tokens.
func NewOfText(student *model.Model, labels *train.Labels, teachers []*model.Model, cache *Cache, o Options, text *Text) (*Objective, error) {
	if err := Check(student, teachers, 0, o, text); err != nil {
		return nil, err
	}
	o.TopK = min(o.TopK, student.Config.VocabSize)
	d := &Objective{b: student.Backend(), o: o, labels: labels, teachers: teachers, cache: cache, sets: map[int]*set{}, text: text, vocab: student.Config.VocabSize}
	var err error
	if text != nil {
		if d.symbols, err = text.symbols(); err != nil {
			return nil, err
		}
		for i, t := range teachers {
			al, err := newAligner(text, t, &text.Teachers[i])
			if err != nil {
				return nil, err
			}
			d.aligned = append(d.aligned, al)
		}
	}
	if d.hash, err = d.identify(); err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	return d, nil
}

// Hash implements train.Objective: settings and teachers.
func (d *Objective) Hash() string { return d.hash }

// identify hashes settings and teachers, weights and all.
func (d *Objective) identify() (string, error) {
	h := sha256.New()
	e := json.NewEncoder(h)
	o := d.o
	if d.cache == nil {
		o.TopK = 0 // all probabilities count
	}
	if d.text != nil {
		if err := e.Encode(d.text.Pieces); err != nil {
			return "", err
		}
		for _, r := range d.text.Teachers {
			if err := e.Encode(r); err != nil {
				return "", err
			}
		}
	}
	if err := e.Encode(o); err != nil {
		return "", err
	}
	for _, t := range d.teachers {
		if err := e.Encode(t.Config); err != nil {
			return "", err
		}
		tensors, err := t.Tensors(t.Params.Value)
		if err != nil {
			return "", err
		}
		for _, x := range tensors {
			h.Write(x.Data)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Close frees the teachers' activations; the teachers themselves stay.
func (d *Objective) Close() error {
	err := d.labels.Close()
	for _, s := range d.sets {
		err = errors.Join(err, s.close())
	}
	for _, al := range d.aligned {
		err = errors.Join(err, al.close())
	}
	return err
}

func (s *set) close() (err error) {
	for _, a := range s.teachers {
		err = errors.Join(err, a.Close())
	}
	return errors.Join(err, s.slab.Free())
}

// Prepare implements train.Objective: it makes the room for a micro-batch and uploads what a cache says of it.
func (d *Objective) Prepare(a *model.Activations, m train.Micro) error {
	if err := d.labels.Prepare(a, m); err != nil {
		return err
	}
	s, err := d.set(a)
	switch {
	case err != nil:
		return err
	case d.cache != nil:
		return d.fromCache(s, a, m)
	case d.text != nil:
		if err := d.align(s, a, m); err != nil {
			return err
		}
		return d.b.Upload(s.probs, s.row)
	}
	return nil
}

// align sets s.row to the mean probabilities of teachers with other tokens.
func (d *Objective) align(s *set, a *model.Activations, m train.Micro) error {
	rows, _ := d.text.Source.Shape()
	if len(d.starts) != rows {
		d.starts = make([]int, rows)
	}
	if err := d.text.Source.Starts(d.starts, m.Step); err != nil {
		return err
	}
	starts := d.starts[m.Row:][:a.Batch]
	clear(s.row)
	weight := 1 / float32(len(d.aligned))
	for i, al := range d.aligned {
		r, err := al.ask(d.b, starts, a.Time)
		if err != nil {
			return fmt.Errorf("distill: teacher %d: %w", i+1, err)
		}
		for row, start := range starts {
			al.say(r, d.symbols, start, a.Time, row, s.row[row*a.Time*d.vocab:], d.vocab, d.o.Temperature, weight)
		}
	}
	return nil
}

// Apply implements train.Objective. a.Loss becomes the whole loss.
func (d *Objective) Apply(a *model.Activations, m train.Micro) error {
	s, hard := d.sets[a.Batch], m
	hard.Scale *= float32(d.o.Alpha)
	if err := d.labels.Apply(a, hard); err != nil {
		return err
	}
	if err := d.soft(s, a, m); err != nil {
		return err
	}
	if err := d.b.Copy(s.ce, a.Loss); err != nil {
		return err
	}
	return d.b.Lerp(a.Loss, s.kl, float32(1-d.o.Alpha), nil)
}

// Parts implements train.Parted: ce, the cross-entropy of the labels, which is comparable with that of any model of the
// same tokens, and kd, τ²·KL from the teachers.
func (d *Objective) Parts(a *model.Activations) []train.LossPart {
	s := d.sets[a.Batch]
	return []train.LossPart{{Name: "ce", Loss: s.ce}, {Name: "kd", Loss: s.kl}}
}

func (d *Objective) args(m train.Micro) backend.DistillArgs {
	return backend.DistillArgs{Temperature: float32(d.o.Temperature), Scale: float32(1-d.o.Alpha) * m.Scale, Step: m.Scalars}
}

// soft adds the teachers' part: from what Prepare has uploaded, or by asking them.
func (d *Objective) soft(s *set, a *model.Activations, m train.Micro) error {
	if d.cache != nil {
		return d.b.DistillTopK(s.kl, a.DLogits, a.Logits, s.ids, s.top, s.tail, a.Weights, d.args(m))
	}
	if !s.taught && d.text == nil {
		if err := d.teach(s, a); err != nil {
			return err
		}
	}
	s.taught = false
	return d.b.Distill(s.kl, a.DLogits, a.Logits, s.probs, a.Weights, d.args(m))
}

// Losses implements train.Reference: what the teachers lose on the targets, in the mean. Apply then asks them no more. With a
// cache it is unknown. Errors: a *train.OptionError with a cache.
func (d *Objective) Losses(dst []float32, a *model.Activations) error {
	if d.cache != nil {
		return &train.OptionError{Field: "loss-tokens", Got: train.Excess, Want: "none with a cache, which has no losses of the teachers"}
	}
	if d.text != nil {
		return &train.OptionError{Field: "loss-tokens", Got: train.Excess, Want: "none with teachers that have tokens of their own, and no losses of the student's"}
	}
	s := d.sets[a.Batch]
	if err := d.teach(s, a); err != nil {
		return err
	}
	s.taught = true
	clear(dst)
	s.row = slices.Grow(s.row[:0], len(dst))[:len(dst)]
	for _, ta := range s.teachers {
		if err := backend.First(
			d.b.CrossEntropy(ta.Loss, nil, ta.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}), d.b.Download(s.row, ta.Loss),
		); err != nil {
			return err
		}
		for i, l := range s.row {
			dst[i] += l / float32(len(s.teachers))
		}
	}
	return nil
}

// teach sets s.probs to the teachers' mean probabilities on the student's batch.
func (d *Objective) teach(s *set, a *model.Activations) error {
	weight := 1 / float32(len(d.teachers))
	for i, t := range d.teachers {
		ta := s.teachers[i]
		if err := backend.First(d.b.Copy(ta.Inputs, a.Inputs), d.b.Copy(ta.Positions, a.Positions)); err != nil {
			return err
		}
		if err := t.Forward(ta); err != nil {
			return fmt.Errorf("distill: teacher %d: %w", i+1, err)
		}
		if err := d.b.Softmax(s.probs, ta.Logits, float32(d.o.Temperature), weight, i > 0); err != nil {
			return err
		}
	}
	return nil
}

// fromCache reads the record of the micro-batch, or asks the teachers and writes it.
func (d *Objective) fromCache(s *set, a *model.Activations, m train.Micro) error {
	first, rows := m.Row*a.Time, m.Rows*a.Time
	found, err := d.cache.Read(s.host, m.Step, first, rows)
	if err != nil {
		return err
	}
	if !found {
		if d.text != nil {
			err = d.align(s, a, m)
		} else if err = d.teach(s, a); err == nil {
			err = d.b.Download(s.row, s.probs)
		}
		if err != nil {
			return err
		}
		s.host.keepLargest(s.row)
		if err := d.cache.Write(s.host, m.Step, first); err != nil {
			return err
		}
	}
	return backend.First(d.b.Upload(s.ids, s.host.IDs), d.b.Upload(s.top, s.host.Probs), d.b.Upload(s.tail, s.host.Tail))
}

// set finds or makes what a micro-batch of this size needs.
func (d *Objective) set(a *model.Activations) (*set, error) {
	if s := d.sets[a.Batch]; s != nil {
		return s, nil
	}
	n, vocab, k := a.Batch*a.Time, d.vocab, d.o.TopK
	s := &set{}
	var err error
	s.slab, err = backend.Reserve(d.b,
		backend.Want{To: &s.ce, DType: backend.F32, Shape: []int{n}},
		backend.Want{To: &s.kl, DType: backend.F32, Shape: []int{n}},
		backend.Want{To: &s.probs, DType: backend.F32, Shape: []int{n, vocab}},
		backend.Want{To: &s.ids, DType: backend.I32, Shape: []int{n, k}},
		backend.Want{To: &s.top, DType: backend.F32, Shape: []int{n, k}},
		backend.Want{To: &s.tail, DType: backend.F32, Shape: []int{n}},
	)
	if err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	for _, t := range d.teachers {
		if err != nil || d.text != nil {
			break
		}
		var ta *model.Activations
		if ta, err = t.NewActivations(a.Batch, a.Time, false); err == nil {
			s.teachers = append(s.teachers, ta)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("distill: %w", err), s.close())
	}
	if d.cache != nil {
		s.host = NewRecord(n, k)
	}
	if d.cache != nil || d.text != nil {
		s.row = make([]float32, n*vocab)
	}
	d.sets[a.Batch] = s
	return s, nil
}
