package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"mito/engine/checkpoint"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/files"
)

// voteFlags ask for several continuations of a prompt, and for how sure the model is.
type voteFlags struct {
	votes       int
	abstain     float64
	calibration string
	wanted      bool
	temperature float64 // of the confidence
}

func (f *voteFlags) register(fs *pflag.FlagSet) {
	fs.IntVar(&f.votes, "votes", 1, "continuations of the prompt; the text that most agree on is written")
	fs.Float64Var(&f.abstain, "abstain", 0, "write nothing where the confidence is below this")
	fs.StringVar(&f.calibration, "calibration", "", "file of mito eval --confidence --calibration with the temperature of the confidence; 1 where it is left out")
}

// mostVotes is more than any majority needs.
const mostVotes = 10_000

func (f *voteFlags) check(fs *pflag.FlagSet, o *decode.GenerateOptions) error {
	f.wanted = fs.Changed("votes") || fs.Changed("abstain") || fs.Changed("calibration")
	f.temperature = 1
	switch {
	case f.votes < 1 || f.votes > mostVotes:
		return usagef("--votes is %d, want 1 to %d", f.votes, mostVotes)
	case !(f.abstain >= 0 && f.abstain <= 1):
		return usagef("--abstain is %v, want 0 to 1", f.abstain)
	case f.votes > 1 && o.Temperature == 0:
		return usagef("--votes needs a --temperature above 0: without one all of them are the same")
	case !f.wanted:
		return nil
	}
	return without(fs, "--votes, --abstain or --calibration", "spec", "draft", "draft-max", "transcript")
}

// fitted is what eval writes and generate reads.
type fitted struct {
	Version     int     `json:"mito_calibration"`
	Temperature float64 `json:"temperature"`
	ECE         float64 `json:"ece"`
	Weights     string  `json:"weights_sha256"`
}

func weightsHash(dir string) (string, error) {
	f, err := checkpoint.Open(dir)
	if err != nil {
		return "", err
	}
	return f.WeightsSHA256()
}

func saveCalibration(path, dir string, c eval.Calibration) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("--calibration: %s exists already: name a new file", path)
	}
	sum, err := weightsHash(dir)
	if err != nil {
		return err
	}
	return files.SaveFile(path, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(fitted{1, c.Temperature, c.ECE, sum})
	})
}

// load reads the temperature, which must be of the model in dir.
func (f *voteFlags) load(dir string) error {
	if f.calibration == "" {
		return nil
	}
	text, err := files.ReadLimited(f.calibration, 1<<16)
	if err != nil {
		return fmt.Errorf("--calibration: %w", err)
	}
	var c fitted
	if err := json.Unmarshal(text, &c); err != nil || c.Version != 1 || !(c.Temperature > 0) {
		return fmt.Errorf("--calibration: %s was not written by mito eval --confidence --calibration", f.calibration)
	}
	sum, err := weightsHash(dir)
	if err != nil {
		return err
	}
	if sum != c.Weights {
		return fmt.Errorf("--calibration: %s is of a model whose weights have the SHA-256 %.12s…, this one has %.12s…: fit one for this model", f.calibration, c.Weights, sum)
	}
	f.temperature = c.Temperature
	return nil
}

// vote continues one prompt several times.
func (f *voteFlags) vote(ctx context.Context, g *decode.Generator, prompt string, o decode.GenerateOptions) (generation, error) {
	o.Sure = f.temperature
	v, err := g.Vote(ctx, prompt, decode.VoteOptions{GenerateOptions: o, Votes: f.votes, Abstain: f.abstain})
	if err != nil {
		return generation{}, err
	}
	v.Generation.Confidence = nil // the vote has it
	return generation{Generation: v.Generation, Vote: &vote{v.Votes, v.Share, v.Confidence, v.Entropy, v.Abstained, v.Texts}}, nil
}

// vote is decode.Vote beside the text of the majority.
type vote struct {
	Votes      int              `json:"votes"`
	Share      float64          `json:"share"`
	Confidence float64          `json:"confidence"`
	Entropy    float64          `json:"entropy"`
	Abstained  bool             `json:"abstained"`
	Texts      []decode.Counted `json:"texts"`
}

// tell writes what a vote has come to in words.
func (v *vote) tell(w io.Writer) {
	if v == nil {
		return
	}
	what := "the text"
	if v.Abstained {
		what = "nothing is written: the text"
	}
	fmt.Fprintf(w, "votes: %s has %.0f of %d, confidence %.3f, %d texts in all, entropy %.3f nats\n", what, v.Share*float64(v.Votes), v.Votes, v.Confidence, len(v.Texts), v.Entropy)
}
