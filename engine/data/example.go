package data

import (
	"errors"
	"fmt"
	"math"

	"mito/engine/tokenizer"
)

// Example is one prompt with every answer that is equally right. A source
// draws one of the answers each time it visits the example, so that training
// sees all of them; the loss counts the answer only, never the prompt.
type Example struct {
	Prompt  string
	Answers []string
}

// ExampleOptions are the choices that examples are laid out with; the zero
// value is usual.
type ExampleOptions struct {
	Time int  // of a row, at least what the longest example needs; 0 = that
	EOS  bool // the answer ends with the tokenizer's end-of-text token, which is learned too
}

// exampleSet is examples as tokens. Prompt and answer are encoded apart,
// because that is how they meet when the model is asked. A row reads
// prompt+answer without the last token and predicts them without the first:
//
//	tokens  p0 p1 p2 a0 a1
//	inputs  p0 p1 p2 a0  0     (T = 5)
//	targets p1 p2 a0 a1  0
//	weights  0  0  1  1  0
type exampleSet struct {
	time     int
	choices  int // right tokens of a target, at most; 0 where answers are longer than a token
	examples []tokenExample
	hash     string
}

type tokenExample struct {
	prompt  []int32
	answers [][]int32
	bytes   []int // of each answer as text
}

var (
	errNoPrompt   = errors.New("the prompt is empty: the model needs something to answer to")
	errNoAnswers  = errors.New("it has no answer")
	errNoAnswer   = errors.New("an answer is empty")
	errNoExamples = &ArgError{"examples", "none given"}
)

func encodeExamples(tok tokenizer.Tokenizer, examples []Example, o ExampleOptions) (*exampleSet, error) {
	if len(examples) == 0 {
		return nil, errNoExamples
	}
	if o.EOS && tok.EOS() < 0 {
		return nil, &ArgError{"EOS", "the tokenizer has no end-of-text token"}
	}
	s := &exampleSet{examples: make([]tokenExample, len(examples))}
	h := hashSource("examples/1")
	for i, e := range examples {
		t, longest, err := encodeExample(tok, e, o.EOS)
		if err != nil {
			return nil, &ExampleError{i, e.Prompt, err}
		}
		if s.time = max(s.time, longest); o.Time > 0 && longest > o.Time {
			return nil, &ExampleError{i, e.Prompt, fmt.Errorf("it takes %d tokens where a row has %d", longest, o.Time)}
		}
		s.examples[i] = t
		h.tokens(t.prompt)
		h.word(uint64(len(t.answers)))
		for _, a := range t.answers {
			h.tokens(a)
		}
	}
	s.time, s.choices = max(s.time, o.Time), choices(s.examples)
	s.hash = h.sum()
	return s, nil
}

// encodeExample also returns the length of the longest row. The prompt is as the model is asked: see tokenizer.Prompt.
func encodeExample(tok tokenizer.Tokenizer, e Example, eos bool) (t tokenExample, longest int, err error) {
	if t.prompt, err = tokenizer.Prompt(tok, e.Prompt); err != nil {
		return t, 0, err
	}
	if len(t.prompt) == 0 {
		return t, 0, errNoPrompt
	}
	if len(e.Answers) == 0 {
		return t, 0, errNoAnswers
	}
	for _, text := range e.Answers {
		if text == "" {
			return t, 0, errNoAnswer
		}
		ids, err := tok.Encode(text)
		if err != nil {
			return t, 0, err
		}
		if eos {
			ids = append(ids, tok.EOS())
		}
		t.answers = append(t.answers, ids)
		t.bytes = append(t.bytes, len(text))
		longest = max(longest, len(t.prompt)+len(ids)-1)
	}
	return t, longest, nil
}

// put lays one example out in row r.
func (t *tokenExample) put(b *Batch, r, answer int, weight float32) {
	at, a := r*b.Time, t.answers[answer]
	row := b.Inputs[at:][:b.Time]
	copy(row[copy(row, t.prompt):], a[:len(a)-1])
	targets := b.Targets[at:][:b.Time]
	copy(targets[copy(targets, t.prompt[1:]):], a)
	for i := range a {
		b.Weights[at+len(t.prompt)-1+i] = weight
	}
}

// Examples visits examples epoch by epoch: each epoch is a permutation keyed by
// hash(seed, epoch), so that every example is seen once in it. Of several
// answers one is drawn by hash(seed, step, row).
type Examples struct {
	set  *exampleSet
	rows int
	seed uint64
	hash string
}

// NewExamples makes a source of rows examples a step. It fails with *ArgError,
// and with *ExampleError for an example that cannot be encoded, has nothing to
// learn or does not fit.
func NewExamples(tok tokenizer.Tokenizer, examples []Example, rows int, seed uint64, o ExampleOptions) (*Examples, error) {
	set, err := encodeExamples(tok, examples, o)
	if err != nil {
		return nil, err
	}
	if err := checkShape(rows, set.time); err != nil {
		return nil, err
	}
	h := hashSource("examplesource/1"+set.hash, uint64(rows), uint64(set.time), seed)
	return &Examples{set, rows, seed, h.sum()}, nil
}

func (e *Examples) Shape() (rows, time int) { return e.rows, e.set.time }
func (e *Examples) TokensPerStep() int      { return e.rows * e.set.time }
func (e *Examples) Hash() string            { return e.hash }

// StepsPerEpoch is the number of steps after which every example has been
// visited at least once.
func (e *Examples) StepsPerEpoch() int64 { return ceilDiv(int64(len(e.set.examples)), int64(e.rows)) }

// Fill implements [Source].
func (e *Examples) Fill(b *Batch, step int64) error {
	if err := e.checkStep(step); err != nil {
		return err
	}
	b.Reset(e.rows, e.set.time)
	for r := range e.rows {
		ex := e.example(step, r)
		answer := below(Mix(e.seed, drawAnswer, uint64(step), uint64(r)), len(ex.answers))
		ex.put(b, r, answer, 1)
	}
	return nil
}

func (e *Examples) checkStep(step int64) error {
	if step < 0 || step > math.MaxInt64/int64(e.rows)-1 {
		return &StepError{step, -1}
	}
	return nil
}

// example is the one that row r of a step shows.
func (e *Examples) example(step int64, r int) *tokenExample {
	n := int64(len(e.set.examples))
	visit := step*int64(e.rows) + int64(r)
	epoch := Mix(e.seed, drawEpoch, uint64(visit/n))
	return &e.set.examples[permute(int(visit%n), int(n), epoch)]
}

// ExamplesEval walks examples in order, one row for each answer. The answers of
// an example share its weight, so that the loss is the expectation of what
// [Examples] trains on: no answer is lucky.
type ExamplesEval struct {
	set    *exampleSet
	rows   int
	visits []visit
	weight float64
	bytes  float64
	hash   string
}

type visit struct{ example, answer int32 }

// NewExamplesEval makes an evaluation. Errors are those of [NewExamples].
func NewExamplesEval(tok tokenizer.Tokenizer, examples []Example, rows int, o ExampleOptions) (*ExamplesEval, error) {
	set, err := encodeExamples(tok, examples, o)
	if err != nil {
		return nil, err
	}
	if err := checkShape(rows, set.time); err != nil {
		return nil, err
	}
	e := &ExamplesEval{set: set, rows: rows}
	for i := range set.examples {
		ex := &set.examples[i]
		for a, ids := range ex.answers {
			w := float64(ex.weight())
			e.visits = append(e.visits, visit{int32(i), int32(a)})
			e.weight += w * float64(len(ids))
			e.bytes += w * float64(ex.bytes[a])
		}
	}
	e.hash = hashSource("exampleseval/1"+set.hash, uint64(rows), uint64(set.time)).sum()
	return e, nil
}

func (t *tokenExample) weight() float32 { return 1 / float32(len(t.answers)) }

func (e *ExamplesEval) Shape() (rows, time int) { return e.rows, e.set.time }
func (e *ExamplesEval) TokensPerStep() int      { return e.rows * e.set.time }
func (e *ExamplesEval) Hash() string            { return e.hash }
func (e *ExamplesEval) Weight() float64         { return e.weight }
func (e *ExamplesEval) Bytes() float64          { return e.bytes }
func (e *ExamplesEval) Batches() int64          { return ceilDiv(int64(len(e.visits)), int64(e.rows)) }

// Fill implements [Source].
func (e *ExamplesEval) Fill(b *Batch, step int64) error {
	if step < 0 || step >= e.Batches() {
		return &StepError{step, e.Batches()}
	}
	b.Reset(e.rows, e.set.time)
	from := int(step) * e.rows
	for r, v := range e.visits[from:min(from+e.rows, len(e.visits))] {
		ex := &e.set.examples[v.example]
		ex.put(b, r, int(v.answer), ex.weight())
	}
	return nil
}
