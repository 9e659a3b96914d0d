package decode

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"runtime"
	"time"

	"mito/engine/checkpoint"
	"mito/engine/files"
	"mito/engine/grammar"
	"mito/engine/runs"
	"mito/kernels/gemm"
)

// TranscriptVersion is the version of the files that Transcript.Save writes.
const TranscriptVersion = 1

// MaxTranscriptBytes bounds the files that LoadTranscript reads.
const MaxTranscriptBytes = 64 << 20

// Transcript says which texts a model has written and how, so that whoever has the model can prove it: each token is drawn from
// the logits of the tokens before it, and all of those come out of one pass over the finished text.
type Transcript struct {
	Version int              `json:"mito_transcript"`
	Model   TranscriptModel  `json:"model"`
	Texts   []TranscriptText `json:"texts"`
}

// TranscriptModel says which model wrote.
type TranscriptModel struct {
	Kind      string `json:"kind"`             // Float32 or Int8
	Weights   string `json:"weights_sha256"`   // of the weights' file
	Tokenizer string `json:"tokenizer_sha256"` // Tokenizer.Hash
	// Kernels computed float32 logits: others round otherwise. INT8 logits have the same bits everywhere; it is "" then.
	Kernels string `json:"kernels,omitempty"`
}

// TranscriptText is a text and what it was asked for with.
type TranscriptText struct {
	Prompt      string   `json:"prompt"`
	MaxTokens   int      `json:"max_tokens"`
	Temperature float64  `json:"temperature"`
	TopK        int      `json:"top_k"`
	TopP        float64  `json:"top_p"`
	MinP        float64  `json:"min_p"`
	Seed        uint64   `json:"seed"`
	Stop        []string `json:"stop,omitempty"`
	Slide       bool     `json:"slide"`
	Adapter     string   `json:"adapter,omitempty"`
	Grammar     []string `json:"grammar,omitempty"` // its kind, and its source

	Text   string  `json:"text"`
	Tokens []int32 `json:"tokens"`
	End    string  `json:"end"`
	// Logits is the SHA-256 of the logits that the tokens were drawn from, V float32 each, as little-endian bits; those that gave the
	// end-of-text token are among them.
	Logits  string  `json:"logits_sha256"`
	Seconds float64 `json:"seconds"` // that making it took
}

// NewTranscript begins a transcript of the model in a folder that r was opened from. Errors: those of reading the folder,
// ErrNoTokenizer.
func NewTranscript(dir string, r Runtime) (*Transcript, error) {
	m, err := describeModel(dir, r)
	if err != nil {
		return nil, err
	}
	return &Transcript{Version: TranscriptVersion, Model: m, Texts: []TranscriptText{}}, nil
}

func describeModel(dir string, r Runtime) (TranscriptModel, error) {
	if r.Tokenizer() == nil {
		return TranscriptModel{}, ErrNoTokenizer
	}
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return TranscriptModel{}, err
	}
	sum, err := f.WeightsSHA256()
	if err != nil {
		return TranscriptModel{}, err
	}
	m := TranscriptModel{Kind: r.Kind(), Weights: sum, Tokenizer: r.Tokenizer().Hash()}
	if m.Kind == Float32 {
		m.Kernels = gemm.Variant() + "/" + runtime.GOARCH
	}
	return m, nil
}

// Add adds a text that was made with GenerateOptions.HashLogits and without a speculator that draws its guesses: those change which
// tokens are drawn.
func (t *Transcript) Add(prompt string, o *GenerateOptions, g *Generation, took time.Duration) {
	var held []string
	if o.Grammar != nil {
		held = append([]string{o.Grammar.Kind()}, o.Grammar.Source()...)
	}
	t.Texts = append(t.Texts, TranscriptText{
		Prompt: prompt, MaxTokens: o.MaxTokens, Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, Seed: o.Seed,
		Stop: o.Stop, Slide: o.Slide, Adapter: o.Adapter, Grammar: held,
		Text: g.Text, Tokens: g.Tokens, End: g.End, Logits: g.Logits, Seconds: took.Seconds(),
	})
}

func (t *TranscriptText) options() (o GenerateOptions, err error) {
	o = GenerateOptions{
		Sampling:  Sampling{Temperature: t.Temperature, TopK: t.TopK, TopP: t.TopP, MinP: t.MinP, Seed: t.Seed},
		MaxTokens: t.MaxTokens, Stop: t.Stop, Slide: t.Slide, Adapter: t.Adapter, HashLogits: true,
	}
	if len(t.Grammar) > 0 {
		o.Grammar, err = grammar.Parse(t.Grammar[0], t.Grammar[1:])
	}
	return o, err
}

// Save writes the transcript to a file.
func (t *Transcript) Save(path string) error {
	return files.SaveFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		return enc.Encode(t)
	})
}

// LoadTranscript reads what Save has written.
func LoadTranscript(path string) (*Transcript, error) {
	text, err := files.ReadLimited(path, MaxTranscriptBytes)
	if err != nil {
		return nil, err
	}
	t := &Transcript{}
	if err := json.Unmarshal(text, t); err != nil {
		return nil, fmt.Errorf("%s is no transcript: %w", path, err)
	}
	if t.Version != TranscriptVersion {
		return nil, fmt.Errorf("%s is no transcript of version %d: mito_transcript is %d; mito generate --transcript writes one", path, TranscriptVersion, t.Version)
	}
	return t, nil
}

// TranscriptError says what of a transcript is not what the model writes.
type TranscriptError struct {
	Text  int // counted from 1; 0 for the whole transcript
	Token int // of that text, counted from 0; -1 for what is no token
	What  string
}

func (e *TranscriptError) Error() string {
	switch {
	case e.Text == 0:
		return "the transcript " + e.What
	case e.Token < 0:
		return fmt.Sprintf("text %d of the transcript: %s", e.Text, e.What)
	}
	return fmt.Sprintf("text %d of the transcript, token %d: %s", e.Text, e.Token, e.What)
}

// TranscriptProof says what Verify has found to be so.
type TranscriptProof struct {
	Identical bool    `json:"identical"`
	Texts     int     `json:"texts"`
	Tokens    int     `json:"tokens"`
	Logits    bool    `json:"logits"` // their bits were compared too; float32 logits are by the same kernels only
	Seconds   float64 `json:"seconds"`
	Made      float64 `json:"made_seconds"` // that making the texts took
}

// Verify proves that r, opened from a folder, writes the texts of the transcript: every token, where they end, and the bits of the
// logits. Each text goes through the model at once, as guesses of which none may be wrong. Errors: *TranscriptError for
// the first thing that is otherwise, those of Generate.
func (t *Transcript) Verify(ctx context.Context, dir string, r Runtime) (p TranscriptProof, err error) {
	m, err := describeModel(dir, r)
	if err != nil {
		return p, err
	}
	switch {
	case m.Weights != t.Model.Weights:
		return p, &TranscriptError{What: fmt.Sprintf("is of a model whose weights have the SHA-256 %.12s…, this one has %.12s…: give the model that wrote it", t.Model.Weights, m.Weights)}
	case m.Tokenizer != t.Model.Tokenizer:
		return p, &TranscriptError{What: fmt.Sprintf("is of a model with another tokenizer (%.12s…, this one has %.12s…)", t.Model.Tokenizer, m.Tokenizer)}
	}
	p.Logits = m.Kernels == t.Model.Kernels
	again := &replay{}
	g, err := NewGenerator(r, GeneratorOptions{Speculator: again})
	if err != nil {
		return p, err
	}
	start := time.Now()
	for i := range t.Texts {
		x := &t.Texts[i]
		*again = replay{x.Tokens, r.VocabSize()}
		var got Generation
		o, err := x.options()
		if err == nil {
			got, err = g.Generate(ctx, x.Prompt, o)
		}
		if err == nil || errors.Is(err, errDeparts) {
			err = x.compare(&got, r, p.Logits)
		}
		if bad := (*TranscriptError)(nil); errors.As(err, &bad) {
			if bad.Text = i + 1; !p.Logits {
				bad.What += fmt.Sprintf(" (float32 text is the same with the same kernels only: it was made with %s, these are %s)", t.Model.Kernels, m.Kernels)
			}
		} else if err != nil {
			return p, fmt.Errorf("text %d of the transcript: %w", i+1, err)
		}
		if err != nil {
			return p, err
		}
		p.Texts, p.Tokens, p.Made = p.Texts+1, p.Tokens+len(x.Tokens), p.Made+x.Seconds
	}
	p.Seconds, p.Identical = time.Since(start).Seconds(), true
	return p, nil
}

// compare finds what the model writes otherwise.
func (t *TranscriptText) compare(got *Generation, r Runtime, logits bool) error {
	spell := func(ids []int32, i int) string {
		if i >= len(ids) {
			return "nothing more"
		}
		b, err := r.Tokenizer().AppendToken(nil, ids[i])
		if err != nil {
			return fmt.Sprint(ids[i])
		}
		return fmt.Sprintf("%d (%q)", ids[i], b)
	}
	for i := range max(len(t.Tokens), len(got.Tokens)) {
		if i >= len(t.Tokens) || i >= len(got.Tokens) || t.Tokens[i] != got.Tokens[i] {
			return &TranscriptError{Token: i, What: fmt.Sprintf("it says %s, the model writes %s", spell(t.Tokens, i), spell(got.Tokens, i))}
		}
	}
	switch {
	case t.Text != got.Text:
		return &TranscriptError{Token: -1, What: fmt.Sprintf("its tokens are those of the model, its text is %.60q, which they spell %.60q", t.Text, got.Text)}
	case t.End != got.End:
		return &TranscriptError{Token: -1, What: fmt.Sprintf("it says that the text ended by %q, the model ends by %q", t.End, got.End)}
	case logits && t.Logits != got.Logits:
		return &TranscriptError{Token: -1, What: fmt.Sprintf("the tokens agree, but their logits have the SHA-256 %.12s…, the transcript says %.12s…", got.Logits, t.Logits)}
	}
	return nil
}

// errDeparts ends a text as soon as it is not the one that was said.
var errDeparts = errors.New("the text departs from the transcript")

// replay is a Speculator that proposes a text that is known.
type replay struct {
	tokens []int32
	vocab  int
}

func (s *replay) Begin(int, []int32, *Sampler) error { return nil }

func (s *replay) Propose(_ context.Context, proposals []Proposal) error {
	p := &proposals[0]
	p.Tokens = s.tokens[:min(p.Limit, len(s.tokens))]
	for i, id := range p.Tokens {
		if id < 0 || int(id) >= s.vocab {
			p.Tokens = p.Tokens[:i] // no model writes that
			break
		}
	}
	return nil
}

func (s *replay) Settle(_, accepted int, tokens []int32) error {
	if len(tokens) > len(s.tokens) || tokens[len(tokens)-1] != s.tokens[len(tokens)-1] {
		return errDeparts
	}
	s.tokens = s.tokens[len(tokens):]
	return nil
}

func (s *replay) Close() error { return nil }

// logitsHash hashes the logits that tokens are drawn from. A nil one does nothing.
type logitsHash struct {
	sum  hash.Hash
	seen []float32 // of tokens that were drawn and not taken yet
	buf  []byte
}

func newLogitsHash(wanted bool) *logitsHash {
	if !wanted {
		return nil
	}
	return &logitsHash{sum: sha256.New()}
}

// see gets logits that a token is drawn from.
func (h *logitsHash) see(logits []float32) {
	if h != nil {
		h.seen = append(h.seen, logits...)
	}
}

// take hashes the first logits that were seen: their token belongs to the text.
func (h *logitsHash) take(vocab int) {
	if h == nil {
		return
	}
	h.buf = h.buf[:0]
	for _, x := range h.seen[:vocab] {
		h.buf = binary.LittleEndian.AppendUint32(h.buf, math.Float32bits(x))
	}
	h.seen = append(h.seen[:0], h.seen[vocab:]...)
	h.sum.Write(h.buf)
}

func (h *logitsHash) hex() string {
	if h == nil {
		return ""
	}
	return hex.EncodeToString(h.sum.Sum(nil))
}
