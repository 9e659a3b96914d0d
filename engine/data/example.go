package data

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"mito/engine/tokenizer"
)

// Example is one prompt with every answer that is equally right. A source
// draws one of the answers each time it visits the example, so that training
// sees all of them; the loss counts the answer only, never the prompt.
type Example struct {
	Prompt  string
	Answers []string
	// Times is how often an epoch of training visits it, 0 for once: for what is rare among the examples, but not in use.
	// An evaluation counts it once.
	Times int
}

// ExampleOptions are the choices that examples are laid out with; the zero
// value is usual.
type ExampleOptions struct {
	Time int  // of a row, at least what the longest example needs; 0 = that
	EOS  bool // the answer ends with the tokenizer's end-of-text token, which is learned too
	Join bool // prompts that continue one another share a row; every answer is one token
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
	choices  int // right tokens of a target, at most; 0 where answers differ before their last token
	examples []tokenExample
	rows     [][]int32 // examples of a row, the longest prompt first
	hash     string
}

type tokenExample struct {
	prompt  []int32
	answers [][]int32
	bytes   []int // of each answer as text
	times   int
}

var (
	errNoPrompt   = errors.New("the prompt is empty: the model needs something to answer to")
	errNoAnswers  = errors.New("it has no answer")
	errNoAnswer   = errors.New("an answer is empty")
	errLongAnswer = errors.New("an answer is longer than one token, so that it does not fit into the row of another prompt")
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
	if i := slices.IndexFunc(s.examples, longAnswer); o.Join && i >= 0 {
		return nil, &ExampleError{i, examples[i].Prompt, errLongAnswer}
	}
	if s.rows = apart(len(s.examples)); o.Join {
		s.rows = joined(s.examples)
		h.word(uint64(len(s.rows)))
	}
	s.hash = h.sum()
	return s, nil
}

func longAnswer(t tokenExample) bool {
	return slices.ContainsFunc(t.answers, func(a []int32) bool { return len(a) != 1 })
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
	t.times = max(1, e.Times)
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
	t.weigh(b, at, len(a), weight)
}

// mark enters the answer, of one token, of an example whose prompt the row r of another begins with.
func (t *tokenExample) mark(b *Batch, r, answer int, weight float32) {
	at := r * b.Time
	b.Targets[at+len(t.prompt)-1] = t.answers[answer][0]
	t.weigh(b, at, 1, weight)
}

// weigh gives the n tokens of an answer in the row that begins at a place their weight in the loss.
func (t *tokenExample) weigh(b *Batch, at, n int, weight float32) {
	for i := range n {
		b.Weights[at+len(t.prompt)-1+i] = weight
	}
}

// Examples visits examples epoch by epoch: each epoch is a permutation keyed by
// hash(seed, epoch), which holds every example as often as its Times says, and
// a row of several as often as the largest of theirs. Of several answers one is
// drawn by hash(seed, step, row), in a row of several examples also by the place
// of the example in it.
type Examples struct {
	set  *exampleSet
	rows int
	seed uint64
	hash string
}

// NewExamples makes a source of rows examples a step; with Join a row holds as many as one sequence of tokens answers. It fails with *ArgError,
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
	if once := set.rows; set.repeat() > len(once) {
		for _, row := range once {
			h.word(uint64(set.times(row)))
		}
	}
	return &Examples{set, rows, seed, h.sum()}, nil
}

func (e *Examples) Shape() (rows, time int) { return e.rows, e.set.time }
func (e *Examples) TokensPerStep() int      { return e.rows * e.set.time }
func (e *Examples) Hash() string            { return e.hash }

// StepsPerEpoch is the number of steps after which every example has been
// visited at least as often as its Times says.
func (e *Examples) StepsPerEpoch() int64 { return ceilDiv(int64(len(e.set.rows)), int64(e.rows)) }

// Fill implements [Source].
func (e *Examples) Fill(b *Batch, step int64) error {
	if err := e.checkStep(step); err != nil {
		return err
	}
	b.Reset(e.rows, e.set.time)
	for r := range e.rows {
		row := e.row(step, r)
		ex := &e.set.examples[row[0]]
		ex.put(b, r, below(Mix(e.seed, drawAnswer, uint64(step), uint64(r)), len(ex.answers)), 1)
		for i, other := range row[1:] {
			ex := &e.set.examples[other]
			ex.mark(b, r, below(Mix(e.seed, drawAnswer, uint64(step), uint64(r), uint64(i)), len(ex.answers)), 1)
		}
	}
	return nil
}

func (e *Examples) checkStep(step int64) error {
	if step < 0 || step > math.MaxInt64/int64(e.rows)-1 {
		return &StepError{step, -1}
	}
	return nil
}

// row lists the examples that row r of a step shows.
func (e *Examples) row(step int64, r int) []int32 {
	n := int64(len(e.set.rows))
	visit := step*int64(e.rows) + int64(r)
	epoch := Mix(e.seed, drawEpoch, uint64(visit/n))
	return e.set.rows[permute(int(visit%n), int(n), epoch)]
}

// ExamplesEval walks examples in order, one row for each answer; with Join rows
// of several examples, again for what further answers they have. The answers of
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

// visit is a row with the answer of this number of those of its examples that have so many.
type visit struct{ row, answer int32 }

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
			e.weight += w * float64(len(ids))
			e.bytes += w * float64(ex.bytes[a])
		}
	}
	for i, row := range set.rows {
		for a := range set.most(row) {
			e.visits = append(e.visits, visit{int32(i), int32(a)})
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
		e.set.show(b, r, v)
	}
	return nil
}
