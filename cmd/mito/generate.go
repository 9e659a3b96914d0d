package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/grammar"
	"mito/engine/tokenizer"
)

func newGenerate() *cobra.Command {
	var (
		machine       machineFlags
		o             decode.GenerateOptions
		model, prompt string
		stdin, asJSON bool
		spec          specFlags
		adapter       adapterFlags
		transcript    string
		form          grammarFlags
		votes         voteFlags
		cache         int
	)
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Continue a text with a model",
		Long: `Continue a prompt and write what follows it to stdout as it is made. Without --temperature the most probable token is
taken every time.

The prompt must fit the context of the model. A text with --max-tokens may outgrow it: the model then goes on from the
last half of a context. Without --max-tokens the text ends where the context does.

With --stdin --json, each line of stdin is one object {"prompt": TEXT, "max_tokens": N} and each gives one line of
stdout, in order and at once: {"text": TEXT, "tokens": [IDS], "end": WHY}. "max_tokens" may be left out; --max-tokens
then holds. Every line starts from --seed, so that its answer does not depend on the lines before. Empty lines are
passed over. A line that cannot be answered gives {"error": TEXT, "line": N} in its place, the rest is answered, and
the exit status is 1.

With --spec or --draft, several tokens are guessed at once and verified in one pass, as far as that is measured to be
faster. The text is the same text. With --draft and --temperature draws depend on what was guessed, though their
distribution does not: without --draft, a text is repeated by its --seed.

With --adapter the text goes through adapters that mito lora trained for the model. Of several, given as --adapter
NAME=FOLDER each, a line of stdin chooses: {"prompt": TEXT, "adapter": NAME}, "" for the bare model; without that, and
for --prompt, the first holds. Nothing is loaded when they change.

With --choices, --regex or --grammar only tokens are drawn that the form allows, and that leave room to end it well within
--max-tokens or the context: every text has the form. A text ends where nothing may follow; a model with an end-of-text
token may end it wherever it is whole. A line of stdin may bring its own choices: {"prompt": TEXT, "choices": [TEXTS]}.

With --votes a prompt is read once and continued several times, from --seed on; the text that most agree on is written. Its confidence
is the probability that the model gives it, at the temperature that mito eval --confidence --calibration has fitted. Below
--abstain nothing is written.

With --transcript the texts and what they were asked for with are written to a file, by which mito verify --transcript
proves that this model wrote them.

"end" is eos (the model ended the text), stop (a --stop text), length (the tokens allowed), context (it is full)
or grammar (nothing may follow).`,
		Example: "  mito generate --model mito-out/book --prompt 'Once upon' --max-tokens 200 --temperature 0.8\n" +
			`  echo '{"prompt": "012345678=", "max_tokens": 1}' | mito generate --model mito-out/tictactoe/compressed --stdin --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			switch given := cmd.Flags().Changed("prompt"); {
			case model == "":
				return usagef("--model is missing: the folder of a model")
			case stdin && given:
				return usagef("--stdin and --prompt contradict each other: the prompts come from one of them")
			case stdin && !asJSON:
				return usagef("--stdin needs --json: prompts and texts are JSON objects, one a line")
			case !stdin && !given:
				return usagef("--prompt is missing: the text to continue; or --stdin --json for many")
			}
			if err := checkGenerate(&o); err != nil {
				return usage(err)
			}
			if err := errors.Join(machine.check(), spec.check(cmd.Flags()), checkTranscript(transcript, &spec, &o), votes.check(cmd.Flags(), &o)); err != nil {
				return err
			}
			if cache < 0 || cache > 1<<20 {
				return usagef("--prefix-cache is %d, want 0 to %d", cache, 1<<20)
			}
			if o.Grammar, err = form.load(cmd.Flags()); err != nil {
				return err
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			if err := votes.load(dir); err != nil {
				return err
			}
			list, err := adapter.load(dir)
			if err != nil {
				return err
			}
			if len(list) > 0 {
				o.Adapter = list[0].Name
			}
			rt, err := decode.Open(dir, decode.Options{Threads: machine.threads, Adapters: list})
			if err != nil {
				return err
			}
			defer closing(rt, &err)
			speculator, release, err := spec.open(rt, machine.threads)
			if err != nil {
				return err
			}
			defer closing(release, &err)
			g, err := decode.NewGenerator(rt, decode.GeneratorOptions{Speculator: speculator, Batch: min(votes.votes, sideBySide), CacheBytes: cache << 20})
			if err != nil {
				return fmt.Errorf("%s: %w", model, err)
			}
			defer closing(g, &err)
			stdout := cmd.OutOrStdout()
			w := &writer{rt: rt, g: g, o: o, spec: &spec, votes: &votes}
			if transcript != "" {
				if w.transcript, err = decode.NewTranscript(dir, rt); err != nil {
					return err
				}
				w.o.HashLogits = true
				defer func() {
					if err == nil || len(w.transcript.Texts) > 0 {
						err = errors.Join(err, w.transcript.Save(transcript))
					}
				}()
			}
			switch {
			case stdin:
				return w.lines(cmd.Context(), cmd.InOrStdin(), stdout)
			case asJSON:
				text, err := w.generate(cmd.Context(), prompt, w.o)
				if err != nil {
					return err
				}
				return encoder(stdout).Encode(text)
			}
			w.o.OnText = func(piece string) error {
				_, err := io.WriteString(stdout, piece)
				return err
			}
			if votes.wanted {
				w.o.OnText = nil // which of them it is turns out at the end
			}
			text, err := w.generate(cmd.Context(), prompt, w.o)
			if votes.wanted {
				io.WriteString(stdout, text.Text)
			}
			if err == nil || text.Text != "" {
				fmt.Fprintln(stdout)
			}
			text.Speculation.tell(cmd.ErrOrStderr())
			text.Vote.tell(cmd.ErrOrStderr())
			return err
		},
	}
	fs := cmd.Flags()
	machine.registerThreads(fs)
	fs.StringVar(&model, "model", "", "folder of the model, float or INT8 (required)")
	adapter.register(fs, "; may be given several times")
	fs.StringVar(&prompt, "prompt", "", "text to continue")
	fs.BoolVar(&stdin, "stdin", false, "with --json: read prompts from stdin, one JSON object a line")
	fs.BoolVar(&asJSON, "json", false, "write JSON: one object, or with --stdin one a line")
	fs.IntVar(&o.MaxTokens, "max-tokens", 0, "tokens to make at most; 0 goes to the end of the context")
	fs.Float64Var(&o.Temperature, "temperature", 0, "divides the logits before tokens are drawn; 0 takes the most probable one")
	fs.IntVar(&o.TopK, "top-k", 0, "draw from so many of the most probable tokens; 0 for all")
	fs.Float64Var(&o.TopP, "top-p", 0, "draw from the fewest tokens that reach this probability together; 0 for all")
	fs.Float64Var(&o.MinP, "min-p", 0, "draw from tokens of at least this share of the largest probability; 0 for all")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the draws")
	spec.register(fs)
	form.register(fs)
	votes.register(fs)
	fs.IntVar(&cache, "prefix-cache", 16, "MiB of keys and values of earlier lines of stdin that are kept for later ones which begin alike")
	fs.StringVar(&transcript, "transcript", "", "new file for the texts and how they were made, for mito verify --transcript")
	fs.StringArrayVar(&o.Stop, "stop", nil, "end the text before this; may be given several times")
	return cmd
}

// checkGenerate refuses flags out of range, and filters that would do nothing.
func checkGenerate(o *decode.GenerateOptions) error {
	if o.MaxTokens < 0 {
		return fmt.Errorf("--max-tokens is %d, want 0 or more", o.MaxTokens)
	}
	for _, s := range o.Stop {
		if s == "" {
			return errors.New("--stop is empty: every text would end at once")
		}
	}
	if err := o.Sampling.Validate(); err != nil {
		return err
	}
	if o.Temperature == 0 && (o.TopK > 1 || o.TopP > 0 && o.TopP < 1 || o.MinP > 0) {
		return errors.New("--top-k, --top-p and --min-p need a --temperature above 0: without one the most probable token is taken")
	}
	return nil
}

// sideBySide is how many votes run at once.
const sideBySide = 16

// checkTranscript refuses a transcript that nobody could verify, or that would replace a file.
func checkTranscript(path string, spec *specFlags, o *decode.GenerateOptions) error {
	if path == "" {
		return nil
	}
	if spec.draft != "" && o.Temperature > 0 {
		return usagef("--transcript and --draft contradict each other with a --temperature: draws would depend on how long guessing took; leave --draft out")
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("--transcript: %s exists already: name a new file", path)
	}
	return nil
}

// writer continues prompts.
type writer struct {
	rt decode.Runtime
	g  *decode.Generator
	o  decode.GenerateOptions

	spec       *specFlags
	votes      *voteFlags
	transcript *decode.Transcript // nil for none
	chosen     *grammar.Grammar   // of the last line with choices
}

// generate continues one prompt. Only the continuation may outgrow the context: a prompt cut short would be answered as
// if it were another.
func (w *writer) generate(ctx context.Context, prompt string, o decode.GenerateOptions) (generation, error) {
	tokens, err := tokenizer.Prompt(w.rt.Tokenizer(), prompt)
	if err != nil {
		return generation{}, fmt.Errorf("the prompt: %w", err)
	}
	o.Slide = o.MaxTokens > 0 && len(tokens) <= w.rt.Context()
	if w.votes.wanted {
		return w.votes.vote(ctx, w.g, prompt, o)
	}
	start := time.Now()
	text, err := w.g.Generate(ctx, prompt, o)
	if err == nil && w.transcript != nil {
		w.transcript.Add(prompt, &o, &text, time.Since(start))
	}
	return w.spec.wrap(text), err
}

// maxLine is the longest line of stdin, far beyond any context.
const maxLine = 1 << 24

// request is a line of stdin.
type request struct {
	Prompt    *string `json:"prompt"`
	MaxTokens *int    `json:"max_tokens"`
	Adapter   *string `json:"adapter"`

	Choices []string `json:"choices"`
}

// lines answers stdin line by line.
func (w *writer) lines(ctx context.Context, in io.Reader, out io.Writer) error {
	enc := encoder(out)
	failed, answered := 0, 0
	for lines := readLines(ctx, in); ; {
		var l line
		more := false
		select {
		case l, more = <-lines:
		case <-ctx.Done():
		}
		if err := errors.Join(ctx.Err(), l.err); err != nil {
			return err
		}
		if !more {
			break
		}
		text, err := w.answer(ctx, l.text)
		answer := any(text)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed++
			answer = struct {
				Error string `json:"error"`
				Line  int    `json:"line"`
			}{plain(err.Error()), l.number}
		}
		answered++
		if err := enc.Encode(answer); err != nil {
			return fmt.Errorf("writing the answer to line %d: %w", l.number, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d lines could not be answered; their errors stand in their places", failed, answered)
	}
	return nil
}

func (w *writer) answer(ctx context.Context, line []byte) (generation, error) {
	var r request
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	err := dec.Decode(&r)
	if err == nil && dec.More() {
		err = errors.New("more than one value on the line")
	}
	o := w.o
	switch {
	case err != nil:
		return generation{}, fmt.Errorf(`not an object {"prompt": TEXT, "max_tokens": N}: %w`, err)
	case r.Prompt == nil:
		return generation{}, errors.New(`"prompt" is missing`)
	case r.MaxTokens != nil && *r.MaxTokens < 1:
		return generation{}, fmt.Errorf(`"max_tokens" is %d, want 1 or more`, *r.MaxTokens)
	case r.MaxTokens != nil:
		o.MaxTokens = *r.MaxTokens
	}
	if r.Adapter != nil {
		o.Adapter = *r.Adapter
	}
	if r.Choices != nil {
		if o.Grammar, err = w.choices(r.Choices); err != nil {
			return generation{}, fmt.Errorf(`"choices": %w`, err)
		}
	}
	return w.generate(ctx, *r.Prompt, o)
}

// choices is the grammar of some texts. The last one is kept, for lines that have the same.
func (w *writer) choices(texts []string) (*grammar.Grammar, error) {
	if w.chosen == nil || !slices.Equal(w.chosen.Source(), texts) {
		var err error
		if w.chosen, err = grammar.Choices(texts); err != nil {
			return nil, err
		}
	}
	return w.chosen, nil
}

// line is a line of stdin that is not empty, or the error that ends it.
type line struct {
	number int
	text   []byte
	err    error
}

// readLines reads in its own goroutine, because a read of stdin does not end when ctx does.
func readLines(ctx context.Context, in io.Reader) <-chan line {
	ch := make(chan line)
	send := func(l line) bool {
		select {
		case ch <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(ch)
		s := bufio.NewScanner(in)
		s.Buffer(nil, maxLine)
		n := 0
		for s.Scan() {
			n++
			if text := bytes.TrimSpace(s.Bytes()); len(text) > 0 && !send(line{number: n, text: bytes.Clone(text)}) {
				return
			}
		}
		if err := s.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("it has more than %d bytes", maxLine)
			}
			send(line{err: fmt.Errorf("reading line %d of stdin: %w", n+1, err)})
		}
	}()
	return ch
}
