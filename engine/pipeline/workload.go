package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mito/engine/data"
	"mito/engine/report"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// Workload is what a model is trained for: a task, a list or a text, with its tokenizer.
type Workload struct {
	Name      string
	Task      task.Task // nil for texts and lists, and for several tasks at once
	Tokenizer tokenizer.Tokenizer
	Context   int      // tokens of a training row
	Settings  any      // how it was opened, for the report
	Notes     []string // what a reader of its results must know of the data

	ends     bool // every answer is followed by the end-of-text token
	examples map[task.Split][]data.Example
	list     bool // items of a list: every prompt is a line end
	joined   bool // prompts that continue one another share a row
	train    data.Part
	held     data.Part
	tokens   map[task.Split][]int32
}

// TextOptions says how a text becomes a workload.
type TextOptions struct {
	Context int     `json:"context"`  // tokens of a training row
	HeldOut float64 `json:"held_out"` // share at the end of the text that is never trained on
	BPE     int     `json:"bpe"`      // vocabulary of a byte-level BPE; 0 means characters
	// Filter is what the training part is without; what is evaluated on stays whole.
	Filter data.Filter `json:"filter,omitzero"`
	// Tokenizer, if not nil, is used as it is, as a student must use its teacher's.
	Tokenizer tokenizer.Tokenizer `json:"-"`
	// Only opens one split, for evaluations with a Tokenizer: test, or all, which holds nothing out. The others are then
	// not made into tokens, so that their characters need not be known. "" opens train and test.
	Only task.Split `json:"-"`
}

// OpenTask opens a task and labels its positions, which ends soon when ctx is done. tok, if not nil, is used instead of the
// task's own characters.
func OpenTask(ctx context.Context, name string, o task.Options, tok tokenizer.Tokenizer) (*Workload, error) {
	if tok != nil && o.Format == "" {
		o.Format = task.FormatOf(name, func(text string) bool { _, err := tok.Encode(text); return err == nil })
	}
	t, err := task.New(name, o)
	if err != nil {
		return nil, err
	}
	w, err := fromTask(ctx, t, tok, rowOptions{})
	if err != nil {
		return nil, err
	}
	if exact, ok := t.(*task.Exact); ok {
		w.Notes = exact.Notes()
	}
	w.Settings = map[string]any{"positions": o.Positions, "depth": o.Depth, "seed": o.Seed}
	if o.Format != "" {
		w.Settings.(map[string]any)["format"] = o.Format
	}
	return w, nil
}

// rowOptions say how a task is laid out in rows.
type rowOptions struct {
	context int // tokens of a row; 0 for what the longest example takes
	most    int // of these; 0 for any number
	bpe     int // vocabulary of a byte-level BPE; 0 for characters
}

func fromTask(ctx context.Context, t task.Task, tok tokenizer.Tokenizer, o rowOptions) (_ *Workload, err error) {
	w := &Workload{Name: t.Name(), Task: t, Tokenizer: tok, ends: task.Ends(t), examples: map[task.Split][]data.Example{}}
	if j, ok := t.(interface{ Joined() bool }); ok {
		w.joined = j.Joined()
	}
	for _, split := range []task.Split{task.Train, task.Test, task.All} {
		if w.examples[split], err = t.Examples(ctx, split); err != nil {
			return nil, err
		}
		if len(w.examples[split]) == 0 {
			return nil, fmt.Errorf("%s: none of its positions is in the %s split: take more of them", t.Name(), split)
		}
	}
	if err := w.checkApart(w.examples[task.Train], w.examples[task.Test]); err != nil {
		return nil, err
	}
	if w.Tokenizer == nil {
		if w.Tokenizer, err = tokenizerOf(t, w.examples[task.Train], o.bpe); err != nil {
			return nil, err
		}
	}
	return w, w.lay(o)
}

// tokenizerOf makes a tokenizer for a task. A BPE learns its merges from the training part alone.
func tokenizerOf(t task.Task, train []data.Example, bpe int) (tokenizer.Tokenizer, error) {
	var specials []string
	if task.Ends(t) {
		specials = []string{tokenizer.EndOfText}
	}
	if bpe == 0 {
		return tokenizer.NewChars(t.Alphabet(), specials...)
	}
	var text strings.Builder
	for _, e := range train {
		for _, a := range e.Answers {
			text.WriteString(e.Prompt + a + "\n")
		}
	}
	return tokenizer.TrainBPE(text.String(), bpe, specials...)
}

// lay finds the length of the rows.
func (w *Workload) lay(o rowOptions) error {
	if w.ends && w.Tokenizer.EOS() < 0 {
		return fmt.Errorf("%s: each answer is followed by the end-of-text token, and the tokenizer has no end-of-text token: take a model or a teacher that was trained on --examples or on such a task", w.Name)
	}
	all := w.examples[task.All]
	probe, err := data.NewExamples(w.Tokenizer, all, 1, 0, w.rows(0))
	if err != nil {
		return err
	}
	_, longest := probe.Shape()
	exact, isExact := w.Task.(*task.Exact)
	if isExact && exact.Closed() != nil {
		// The longest answer may be given to the longest prompt.
		pair, err := w.longest(exact.Closed())
		if err != nil {
			return err
		}
		longest = max(longest, pair)
	}
	if t, ok := w.Task.(interface{ Longest() int }); ok { // in play prompts may be longer than any that is labelled
		begin, _ := w.Tokenizer.Template()
		longest = max(longest, len(begin)+t.Longest())
	}
	w.Context = max(longest, o.context)
	if limit := cmp.Or(o.context, o.most); (isExact || w.list) && limit > 0 && longest > limit {
		return w.tooLong(limit)
	}
	return nil
}

// longest is the length of a row of the longest prompt and the longest answer.
func (w *Workload) longest(closed []string) (int, error) {
	prompt, answer := 0, 0
	for _, e := range w.examples[task.All] {
		ids, err := tokenizer.Prompt(w.Tokenizer, e.Prompt)
		if err != nil {
			return 0, err
		}
		prompt = max(prompt, len(ids))
	}
	for _, a := range closed {
		ids, err := w.Tokenizer.Encode(a)
		if err != nil {
			return 0, err
		}
		answer = max(answer, len(ids))
	}
	return prompt + answer, nil
}

// tooLong says which example takes more tokens than a row may have.
func (w *Workload) tooLong(limit int) error {
	var worst data.Example
	most := 0
	for _, e := range w.examples[task.All] {
		for _, a := range e.Answers {
			prompt, err1 := tokenizer.Prompt(w.Tokenizer, e.Prompt)
			answer, err2 := w.Tokenizer.Encode(a)
			n := len(prompt) + len(answer)
			if !w.ends {
				n--
			}
			if err1 == nil && err2 == nil && n > most {
				worst, most = e, n
			}
		}
	}
	e := &LongError{Name: w.Name, Tokens: most, Limit: limit}
	if t, ok := w.Task.(*task.Exact); ok {
		e.Line = t.Line(worst.Prompt)
	} else if e.What = worst.Answers[0]; len(e.What) > 40 {
		e.What = strings.ToValidUTF8(e.What[:40], "") + "…"
	}
	return e
}

// LongError reports examples that take longer rows than there may be.
type LongError struct {
	Name          string
	Line          int    // of the longest; 0 where it is not known
	What          string // its beginning, then
	Tokens, Limit int
}

func (e *LongError) Error() string {
	if e.Tokens <= e.Limit {
		return fmt.Sprintf("%s: the longest prompt and the longest answer together take more than the %d tokens of a row: give a longer --context, or a larger --bpe", e.Name, e.Limit)
	}
	what := fmt.Sprintf("%s: the line %q takes", e.Name, e.What)
	if e.Line > 0 {
		what = fmt.Sprintf("%s, line %d: prompt and answer take", e.Name, e.Line)
	}
	return fmt.Sprintf("%s %d tokens where a row has %d: shorten it, or give --context %[2]d and a model that has it, or a larger --bpe",
		what, e.Tokens, e.Limit)
}

// rows says how examples are laid out in rows of so many tokens.
func (w *Workload) rows(time int) data.ExampleOptions {
	return data.ExampleOptions{Time: time, EOS: w.ends, Join: w.joined}
}

// OpenText opens a text file or folder.
func OpenText(path string, o TextOptions) (*Workload, error) {
	if err := o.Filter.Validate(); err != nil {
		return nil, err
	}
	corpus, err := data.LoadCorpus(path)
	if err != nil {
		return nil, err
	}
	w := &Workload{Name: filepath.Base(filepath.Clean(path)), Context: o.Context, Tokenizer: o.Tokenizer, Settings: o}
	w.tokens = map[task.Split][]int32{}
	if o.Only == task.All {
		return w, w.encode(path, task.All, data.NewPart("text", corpus.Text))
	}
	if w.train, w.held, err = data.Split(corpus.Text, o.HeldOut); err != nil {
		return nil, err
	}
	if err := data.CheckDisjoint(w.train, w.held); err != nil {
		return nil, err
	}
	w.train = o.Filter.Part(w.train)
	if w.Tokenizer == nil {
		// Characters are counted over the whole text, so that the held-out part can be written at all; a BPE needs
		// no character to be known and learns its merges from the training part alone.
		if o.BPE > 0 {
			w.Tokenizer, err = tokenizer.TrainBPE(w.train.Text, o.BPE, tokenizer.EndOfText)
		} else {
			w.Tokenizer, err = tokenizer.NewChars(corpus.Text)
		}
		if err != nil {
			return nil, err
		}
	}
	if o.Only == "" {
		if err := w.encode(path, task.Train, w.train); err != nil {
			return nil, err
		}
	}
	return w, w.encode(path, task.Test, w.held)
}

// encode makes a part of the text of path into tokens.
func (w *Workload) encode(path string, split task.Split, part data.Part) (err error) {
	if w.tokens[split], err = w.Tokenizer.Encode(part.Text); err != nil {
		return fmt.Errorf("%s of %s: %w", part.Name, path, err)
	}
	return nil
}

// Source gives batches of a split. A text has no split All: its held-out part is never trained on.
func (w *Workload) Source(split task.Split, rows int, seed uint64) (data.Source, error) {
	if w.examples != nil {
		return data.NewExamples(w.Tokenizer, w.examples[split], rows, seed, w.rows(w.Context))
	}
	tokens, err := w.text(split)
	if err != nil {
		return nil, err
	}
	text, err := data.NewText(tokens, rows, w.Context, seed)
	if err != nil {
		return nil, err
	}
	begin, _ := w.Tokenizer.Template()
	return text.After(begin)
}

// Eval walks a split once.
func (w *Workload) Eval(split task.Split, rows int) (data.Eval, error) {
	if w.examples != nil {
		return data.NewExamplesEval(w.Tokenizer, w.examples[split], rows, w.rows(w.Context))
	}
	tokens, err := w.text(split)
	if err != nil {
		return nil, err
	}
	return data.NewTextEval(w.Tokenizer, tokens, rows, w.Context)
}

// Foreign walks the text of a split once as another tokenizer cuts it. Errors: *task.SplitError where it is none that is kept.
func (w *Workload) Foreign(tok tokenizer.Tokenizer, split task.Split, context int) (data.Eval, error) {
	if w.examples != nil || split != task.Test {
		return nil, &task.SplitError{Split: split}
	}
	tokens, err := tok.Encode(w.held.Text)
	if err != nil {
		return nil, err
	}
	return data.NewTextEval(tok, tokens, evalRows, context)
}

func (w *Workload) text(split task.Split) ([]int32, error) {
	tokens := w.tokens[split]
	if tokens == nil {
		return nil, &task.SplitError{Split: split}
	}
	return tokens, nil
}

// Splits describes the parts for the report.
func (w *Workload) Splits() ([]report.Split, error) {
	if w.examples == nil {
		return []report.Split{
			{Name: string(task.Train), Tokens: int64(len(w.tokens[task.Train])), Hash: w.train.Hash},
			{Name: string(task.Test), Tokens: int64(len(w.tokens[task.Test])), Hash: w.held.Hash},
		}, nil
	}
	var out []report.Split
	for _, split := range []task.Split{task.Train, task.Test} {
		e, err := w.Eval(split, 1)
		if err != nil {
			return nil, err
		}
		out = append(out, report.Split{Name: string(split), Examples: int64(len(w.examples[split])), Hash: e.Hash()})
	}
	return out, nil
}

// EntropyFloor is the least loss in nats that the several right answers of a task allow; 0 for text, where it is
// not known.
func (w *Workload) EntropyFloor(split task.Split) float64 {
	if w.Task == nil {
		return 0
	}
	if t, ok := w.Task.(interface{ Floor() float64 }); ok {
		return t.Floor()
	}
	return task.EntropyFloor(w.examples[split])
}
