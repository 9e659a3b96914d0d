package pipeline

import (
	"fmt"
	"path/filepath"
	"strings"

	"mito/engine/data"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// itemEnd begins and ends every item of a list, as a model sees it.
const itemEnd = "\n"

// OpenLines opens a text file or folder as a list: one item a line. Items are shuffled and split by o.Seed, and each of them has a
// row of its own, so that a model learns from a line alone. The loss is that of the item's tokens and of the line end after
// it; the line end before it is read and not counted. Errors: *data.CorpusError, those of data.SplitItems, *LongError.
func OpenLines(path string, o ExamplesOptions) (*Workload, error) {
	corpus, err := data.LoadCorpus(path)
	if err != nil {
		return nil, err
	}
	items, repeated := data.Items(corpus.Text)
	train, test, err := data.SplitItems(items, o.HeldOut, o.Seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w := &Workload{Name: filepath.Base(filepath.Clean(path)), Tokenizer: o.Tokenizer, Settings: o, list: true}
	w.examples = map[task.Split][]data.Example{task.Train: listed(train), task.Test: listed(test), task.All: listed(items)}
	if repeated > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("%d lines repeat earlier ones, and count once.", repeated))
	}
	if w.Tokenizer == nil {
		if o.BPE > 0 {
			var text strings.Builder
			for _, i := range train {
				text.WriteString(i.Text + itemEnd)
			}
			w.Tokenizer, err = tokenizer.TrainBPE(text.String(), o.BPE, tokenizer.EndOfText)
		} else {
			w.Tokenizer, err = tokenizer.NewChars(corpus.Text + itemEnd)
		}
		if err != nil {
			return nil, err
		}
	}
	return w, w.lay(o.rows())
}

// listed are items as examples.
func listed(items []data.Item) []data.Example {
	out := make([]data.Example, len(items))
	for i, item := range items {
		out[i] = data.Example{Prompt: itemEnd, Answers: []string{item.Text + itemEnd}}
	}
	return out
}

// checkApart refuses a test part that has something of the training part: a prompt, or of a list an item.
func (w *Workload) checkApart(train, test []data.Example) error {
	if !w.list {
		return data.CheckExamples(train, test)
	}
	items := func(list []data.Example) []data.Example {
		out := make([]data.Example, len(list))
		for i, e := range list {
			out[i].Prompt = e.Answers[0]
		}
		return out
	}
	return data.CheckExamples(items(train), items(test))
}
