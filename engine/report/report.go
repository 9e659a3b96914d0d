package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"mito/engine/files"
)

// The files of a report.
const (
	JSONName     = "report.json"
	MarkdownName = "report.md"
	CurvesName   = "loss.svg"
	HTMLName     = "report.html"
)

// Number is a measured value. NaN and infinities are null in JSON: not measured, or without meaning for the task.
type Number float64

// NotMeasured marks a value that the run did not measure.
var NotMeasured = Number(math.NaN())

// Measured reports whether n is a finite number.
func (n Number) Measured() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes a number or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Measured() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (n *Number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = NotMeasured
		return nil
	}
	return json.Unmarshal(data, (*float64)(n))
}

// Schema is the version of report.json. Reports before version 2 do not name theirs and have no candidates.
const Schema = 2

// Report is the result of a pipeline. The fields up to Front are those that scripts rely on.
type Report struct {
	Schema     int        `json:"schema"`
	Task       string     `json:"task"`
	Seed       uint64     `json:"seed"`
	Backend    string     `json:"backend"`
	Seconds    Number     `json:"seconds"`
	Teacher    Model      `json:"teacher"` // with an empty dir where the labels alone taught
	Student    Model      `json:"student"`
	Compressed Compressed `json:"compressed"`
	Speed      Speed      `json:"speed"`

	// Candidates are all models, in the order that they were made in, the three above among them; see SetCandidates.
	Candidates []Candidate `json:"candidates"`
	Front      []string    `json:"front"` // names of those that none is better than in loss, bytes and speed

	Version  string            `json:"version,omitempty"`  // of mito
	Machine  string            `json:"machine,omitempty"`  // one line
	Command  string            `json:"command,omitempty"`  // the command line that makes this again
	Settings map[string]any    `json:"settings,omitempty"` // every setting that the result depends on
	Seeds    map[string]uint64 `json:"seeds,omitempty"`    // by what they seed
	Splits   []Split           `json:"splits,omitempty"`
	Rows     []Row             `json:"rows,omitempty"`  // comparisons beside the candidates
	Notes    []string          `json:"notes,omitempty"` // what a reader must know to judge the numbers
	Curves   string            `json:"curves,omitempty"`
	Device   *Device           `json:"device,omitempty"`  // where the student was made for a budget
	Replays  []Replay          `json:"replays,omitempty"` // a few games of the compressed student
	Samples  []Sample          `json:"samples,omitempty"` // texts of the candidates
}

// Model is one row of results.
type Model struct {
	Dir         string          `json:"dir"`
	Params      int64           `json:"params"`
	Bytes       int64           `json:"bytes"` // of weights, as saved, without the file's header
	LossNats    Number          `json:"loss_nats"`
	BitsPerByte Number          `json:"bits_per_byte"`
	Score       json.RawMessage `json:"score"` // as the task makes it; null for text

	// Scores holds Score and those at other opponents, each with a few words. See AddScore.
	Scores []Result `json:"scores,omitempty"`
}

// Result is a score in JSON and in words.
type Result struct {
	Name  string          `json:"name"` // what was measured, such as "against random: won/drawn/lost"
	Text  string          `json:"text"` // such as "889/111/0 of 1000"
	Score json.RawMessage `json:"score"`
}

// AddScore adds a score of a task; the first is the model's Score.
func (m *Model) AddScore(name, text string, score any) error {
	raw, err := json.Marshal(score)
	if err != nil {
		return fmt.Errorf("report: the score of %s: %w", m.Dir, err)
	}
	if m.Scores = append(m.Scores, Result{Name: name, Text: text, Score: raw}); len(m.Scores) == 1 {
		m.Score = raw
	}
	return nil
}

// Compressed is the INT8 student.
type Compressed struct {
	Model
	Scheme   string `json:"scheme"`   // such as "int8"
	Sparsity Number `json:"sparsity"` // share of zero weights by construction, 0 to 1
	Digest   string `json:"digest"`   // SHA-256 of its logits over the stated stream

	Variants []string `json:"variants,omitempty"` // that the digest was the same in
}

// Speed holds decoding rates in tokens a second.
type Speed struct {
	Teacher    Number `json:"teacher_tok_s"`
	Student    Number `json:"student_tok_s"`
	Compressed Number `json:"compressed_tok_s"`
}

// Device is what the compressed student takes on a device, as predicted, and the budget that it was made for; 0 for any.
type Device struct {
	Flash       int64  `json:"flash"` // bytes, with the code
	RAM         int64  `json:"ram"`   // bytes, with the stack
	FlashBudget int64  `json:"flash_budget"`
	RAMBudget   int64  `json:"ram_budget"`
	TokSBudget  Number `json:"tok_s_budget"` // on the machine that made it
	Chosen      string `json:"chosen"`       // what was chosen, and why
}

// Split is one part of the data. The hash is over its content, so that two reports can be compared.
type Split struct {
	Name     string `json:"name"`
	Examples int64  `json:"examples,omitempty"`
	Tokens   int64  `json:"tokens,omitempty"`
	Hash     string `json:"hash"`
}

// Row is a comparison, such as "student trained alone" against "student distilled".
type Row struct {
	Name string `json:"name"`
	Model
	TokensPerSecond Number `json:"tok_s"`
	Note            string `json:"note,omitempty"`
}

// WriteJSON writes one JSON object and a line end.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Save writes report.json, report.md, report.html and, where there are curves, loss.svg into dir, each in one step.
func (r *Report) Save(dir string, curves []Series) error {
	if len(curves) > 0 {
		r.Curves = CurvesName
		err := files.SaveFile(filepath.Join(dir, CurvesName), func(w io.Writer) error {
			return WriteCurves(w, "Loss of "+r.Task, curves)
		})
		if err != nil {
			return err
		}
	}
	if err := files.SaveFile(filepath.Join(dir, MarkdownName), r.WriteMarkdown); err != nil {
		return err
	}
	page := func(w io.Writer) error { return r.WriteHTML(w, curves) }
	if err := files.SaveFile(filepath.Join(dir, HTMLName), page); err != nil {
		return err
	}
	return files.SaveFile(filepath.Join(dir, JSONName), r.WriteJSON)
}

// Read reads a report.json.
func Read(path string) (*Report, error) {
	var r Report
	if err := files.ReadJSON(path, &r, 0); err != nil {
		return nil, err
	}
	return &r, nil
}
