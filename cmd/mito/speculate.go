package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"mito/engine/decode"
)

// Kinds of speculation.
const (
	specNone  = "none"
	specNGram = "ngram"
	specAuto  = "auto"
)

// specFlags choose how several tokens are guessed at once.
type specFlags struct {
	kind, draft string
	most        int
	auto        *decode.Auto // what was chosen from; nil without speculation
}

func (f *specFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.kind, "spec", "", "guess tokens ahead and verify them at once: none, ngram (what followed before in prompt and text), or auto (that, and the --draft); none where it is left out, auto with --draft")
	fs.StringVar(&f.draft, "draft", "", "folder of a smaller model with the same tokenizer that guesses ahead")
	fs.IntVar(&f.most, "draft-max", 8, "tokens that are guessed ahead at most")
}

// check refuses flags that contradict each other, and fills in what was left out.
func (f *specFlags) check(fs *pflag.FlagSet) error {
	if f.kind == "" {
		f.kind = specNone
		if f.draft != "" {
			f.kind = specAuto
		}
	}
	switch {
	case f.kind != specNone && f.kind != specNGram && f.kind != specAuto:
		return usagef("--spec is %q, want %s, %s or %s", f.kind, specNone, specNGram, specAuto)
	case f.kind != specAuto && f.draft != "":
		return usagef("--draft and --spec %s contradict each other: leave one of them out", f.kind)
	case f.kind == specNone && fs.Changed("draft-max"):
		return usagef("--draft-max needs --spec or --draft: without them nothing is guessed ahead")
	case f.most < 1:
		return usagef("--draft-max is %d, want 1 or more", f.most)
	}
	return nil
}

// draftRuntime is the draft's runtime, which may be none.
type draftRuntime struct{ decode.Runtime }

// Close closes it.
func (r draftRuntime) Close() error {
	if r.Runtime == nil {
		return nil
	}
	return r.Runtime.Close()
}

// open makes the speculator for one text at a time, nil for none, and gives the draft's runtime to close behind it.
func (f *specFlags) open(target decode.Runtime, threads int) (s decode.Speculator, release draftRuntime, err error) {
	if f.kind == specNone {
		return nil, release, nil
	}
	specs := []decode.Named{{Name: specNGram, Speculator: decode.NewNGram(f.most)}}
	if f.draft != "" {
		dir, err := modelFolder("--draft", f.draft)
		if err != nil {
			return nil, release, err
		}
		rt, err := decode.Open(dir, decode.Options{Threads: threads})
		if err != nil {
			return nil, release, fmt.Errorf("--draft: %w", err)
		}
		draft, err := decode.NewDraft(rt, target, 1, f.most)
		if err != nil {
			return nil, release, fmt.Errorf("--draft: %w", errors.Join(err, rt.Close()))
		}
		specs, release = append([]decode.Named{{Name: "draft", Speculator: draft}}, specs...), draftRuntime{rt}
	}
	f.auto = decode.NewAuto(f.most, specs...)
	return f.auto, release, nil
}

// generation is a generated text as it is printed, with what speculation brought.
type generation struct {
	decode.Generation
	Speculation *speculation `json:"speculation,omitempty"`
	Vote        *vote        `json:"vote,omitempty"`
}

type speculation struct {
	decode.Choice
	decode.Speculation
}

func (f *specFlags) wrap(g decode.Generation) generation {
	out := generation{Generation: g}
	if f.auto != nil && g.Speculation != nil {
		out.Speculation = &speculation{f.auto.Choice(), *g.Speculation}
	}
	return out
}

// tell writes what speculation brought in words.
func (s *speculation) tell(w io.Writer) {
	if s == nil {
		return
	}
	tokens := s.Accepted + s.Verifications
	fmt.Fprintf(w, "speculation: %d of %d guessed tokens accepted, %.2f tokens a pass", s.Accepted, s.Proposed, float64(tokens)/float64(max(1, s.Verifications)))
	if s.Kind == specNone {
		fmt.Fprintf(w, "; plain decoding is the fastest, %.0f tokens/s\n", s.PlainToS)
		return
	}
	fmt.Fprintf(w, "; %s %d tokens ahead, %.0f tokens/s, plain decoding %.0f\n", s.Kind, s.Depth, s.TokS, s.PlainToS)
}
