package search

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mito/engine/files"
)

// Shape is what structured pruning leaves of the parent.
type Shape struct {
	Layers  int `json:"layers"`
	Heads   int `json:"heads"`   // query heads of every layer
	Neurons int `json:"neurons"` // of every layer
}

// Trial describes a student. All that it depends on is here, so that the same description gives the same student.
type Trial struct {
	Parent string `json:"parent"` // SHA-256 of the parent's weights
	Data   string `json:"data"`   // hash of what it is trained and chosen on
	Recipe string `json:"recipe"` // hash of the settings of the training

	Shape
	Sparsity float64 `json:"sparsity"` // share of zero 4×8 blocks inside the layers; 0 for none
	Spread   float64 `json:"spread"`   // how far that of a matrix may lie from it
	Bits     string  `json:"bits"`     // of the weights, as quant.ParseRules reads them
	Steps    int     `json:"steps"`    // of recovery
	Seed     uint64  `json:"seed"`
}

// Name is the beginning of the hash of the description.
func (t Trial) Name() string {
	text, err := json.Marshal(t)
	if err != nil { // numbers and words
		panic("search: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Outcome is what came of a trial.
type Outcome struct {
	Trial   Trial   `json:"trial"`
	Name    string  `json:"name"`
	Student string  `json:"student"`           // its folder in that of the trial
	Uniform bool    `json:"uniform,omitempty"` // the whole parent with the same sparsity or bits everywhere: what a search has to beat
	Loss    float64 `json:"loss_nats"`         // of the student, on training data that was kept for the choice
	Test    float64 `json:"test_loss_nats,omitempty"`
	Flash   int64   `json:"flash"`
	RAM     int64   `json:"ram"`
	Params  int64   `json:"params"`
	TokS    float64 `json:"tok_s"` // measured where it ran; no part of what a trial is
	Seconds float64 `json:"seconds"`
}

// OutcomeFile is where an outcome lies in the folder of its trial.
const OutcomeFile = "outcome.json"

// Load finds the outcome of a trial in a search's folder; ok is false where there is none. Errors: *files.FormatError, and of an
// outcome that is not the trial's.
func Load(dir string, t Trial) (o Outcome, ok bool, err error) {
	path := filepath.Join(dir, t.Name(), OutcomeFile)
	if err := files.ReadJSON(path, &o, 0); errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	} else if err != nil {
		return o, false, err
	}
	if o.Trial != t {
		return o, false, fmt.Errorf("%s is the outcome of another trial than its name says: remove its folder", path)
	}
	return o, true, nil
}

// Save keeps an outcome in a search's folder.
func Save(dir string, o Outcome) error {
	folder := filepath.Join(dir, o.Trial.Name())
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	return files.WriteJSON(filepath.Join(folder, OutcomeFile), o)
}

// Front returns the outcomes that no other beats in both bytes and loss, the smallest first.
func Front(all []Outcome) []Outcome {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Flash, b.Flash), cmp.Compare(a.Loss, b.Loss), cmp.Compare(a.Name, b.Name))
	})
	var front []Outcome
	for _, o := range sorted {
		if len(front) == 0 || o.Loss < front[len(front)-1].Loss {
			front = append(front, o)
		}
	}
	return front
}

// Rung is a round of successive halving.
type Rung struct {
	Trials int `json:"trials"` // that run
	Steps  int `json:"steps"`
}

// third is by how much a round has fewer trials and more steps.
const third = 3

// Rungs plans rounds that end with the given steps: a third of the trials of each, and one at least, goes on with three times the
// steps.
func Rungs(trials, steps int) []Rung {
	var list []Rung
	for n, s := trials, steps; ; n = (n + third - 1) / third {
		list = append(list, Rung{Trials: n})
		if n <= 1 || s <= third {
			break
		}
		s /= third
	}
	for i, s := len(list)-1, steps; i >= 0; i, s = i-1, max(min(steps, 1), s/third) {
		list[i].Steps = s
	}
	return list
}

// Best picks the n outcomes of the least loss, and with them every uniform one.
func Best(all []Outcome, n int) []Outcome {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Outcome) int { return cmp.Or(cmp.Compare(a.Loss, b.Loss), cmp.Compare(a.Name, b.Name)) })
	var best []Outcome
	for i, o := range sorted {
		if i < n || o.Uniform {
			best = append(best, o)
		}
	}
	return best
}
