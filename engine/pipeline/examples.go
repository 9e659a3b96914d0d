package pipeline

import (
	"context"
	"path/filepath"

	"mito/engine/data"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// ExamplesOptions says how a file of examples, or a list, becomes a workload.
type ExamplesOptions struct {
	HeldOut float64 `json:"held_out"`          // share of the prompts, or the items, that is never trained on
	Seed    uint64  `json:"seed"`              // of which ones they are
	BPE     int     `json:"bpe"`               // vocabulary of a byte-level BPE; 0 means characters
	Context int     `json:"context,omitempty"` // tokens of a row; 0 for what the longest example takes
	// Most is how many tokens a row may have at most, 0 for MaxRow. It is what the context of a model is for its evaluation.
	Most int `json:"-"`
	// Tokenizer, if not nil, is used as it is, as a student must use its teacher's.
	Tokenizer tokenizer.Tokenizer `json:"-"`
}

// MaxRow is how many tokens a row of examples has at most where nobody says otherwise: all rows are as long as the longest.
const MaxRow = 1024

func (o ExamplesOptions) rows() rowOptions {
	rows := rowOptions{context: o.Context, most: o.Most, bpe: o.BPE}
	if rows.most == 0 && o.Context == 0 {
		rows.most = MaxRow
	}
	return rows
}

// OpenExamples opens a file of examples (see data.LoadTSV). Errors: those of data.LoadTSV and task.NewExamples, *LongError.
func OpenExamples(ctx context.Context, path string, o ExamplesOptions) (*Workload, error) {
	lines, err := data.LoadTSV(path)
	if err != nil {
		return nil, err
	}
	t, err := task.NewExamples(filepath.Base(filepath.Clean(path)), lines, task.ExampleOptions{HeldOut: o.HeldOut, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	w, err := fromTask(ctx, t, o.Tokenizer, o.rows())
	if err != nil {
		return nil, err
	}
	w.Settings, w.Notes = o, t.Notes()
	return w, nil
}
