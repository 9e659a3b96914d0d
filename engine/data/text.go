package data

import (
	"fmt"
	"math"

	"mito/engine/tokenizer"
)

// Text crops a stream of tokens at random: row r of a step begins at a place
// drawn by hash(seed, step, r), uniformly from those that leave room for the
// targets. Every weight is 1 unless the tokens have weights of their own.
type Text struct {
	begin      []int32 // before the stretch of every row
	tokens     []int32
	weights    []float32 // of the tokens as targets; nil for 1
	rows, time int
	stride     int // rows begin at multiples of it
	seed       uint64
	hash       string
}

// NewText makes a source of rows crops of time tokens. tokens must not change
// afterwards. It fails with *TooShortError below time+1 tokens and with *ArgError.
func NewText(tokens []int32, rows, time int, seed uint64) (*Text, error) {
	if err := checkShape(rows, time); err != nil {
		return nil, err
	}
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	if len(tokens) < time+1 {
		return nil, &TooShortError{What: "training text", Unit: "tokens", Have: len(tokens), Need: time + 1}
	}
	h := hashSource("text/1", uint64(rows), uint64(time), seed)
	h.tokens(tokens)
	return &Text{tokens: tokens, rows: rows, time: time, stride: 1, seed: seed, hash: h.sum()}, nil
}

// After is the same source with rows of the same length that read begin first and a
// shorter stretch of the text behind it. Of the targets, the tokens of begin have
// weight 0. Rows are then no stretches of [Text.Tokens]. It fails with *ArgError.
func (t *Text) After(begin []int32) (*Text, error) {
	if len(begin) == 0 {
		return t, nil
	}
	if err := checkBegin(begin, t.time); err != nil {
		return nil, err
	}
	h := hashSource("begin/1")
	h.tokens(begin)
	after := *t
	after.begin, after.hash = begin, t.hash+"+"+h.sum()
	return &after, nil
}

// checkBegin leaves room for a token of the text in rows that begin so.
func checkBegin(begin []int32, time int) error {
	if len(begin) >= time {
		return &ArgError{"begin", fmt.Sprintf("%d tokens before a text leave rows of %d no room for it: give a longer context", len(begin), time)}
	}
	return checkTokens(begin)
}

// stretch is the number of inputs of a row that are of the text.
func (t *Text) stretch() int { return t.time - len(t.begin) }

// Grid is the same source with rows that begin at multiples of stride only, so that
// they come again, for whoever keeps what was computed of them. It fails with *ArgError.
func (t *Text) Grid(stride int) (*Text, error) {
	if stride < 1 {
		return nil, &ArgError{"stride", fmt.Sprintf("%d, want 1 or more", stride)}
	}
	grid := *t
	if grid.stride = stride; stride > 1 {
		grid.hash = t.hash + "+" + hashSource("grid/1", uint64(stride)).sum()
	}
	return &grid, nil
}

func checkTokens(tokens []int32) error {
	for i, t := range tokens {
		if t < 0 {
			return &ArgError{"tokens", fmt.Sprintf("id %d at %d is negative", t, i)}
		}
	}
	return nil
}

func (t *Text) Shape() (rows, time int) { return t.rows, t.time }
func (t *Text) TokensPerStep() int      { return t.rows * t.time }
func (t *Text) Hash() string            { return t.hash }

// Tokens is the stream that is cropped, for a backend that keeps it in its own
// memory and gathers the rows there. It must not be changed.
func (t *Text) Tokens() []int32 { return t.tokens }

// TokenWeights are the weights of the tokens as targets, nil where all are 1.
// They must not be changed.
func (t *Text) TokenWeights() []float32 { return t.weights }

// Weighted is the same source with a weight for each token as a target, not
// negative; weights must not change afterwards. It fails with *ArgError.
func (t *Text) Weighted(weights []float32) (*Text, error) {
	if len(weights) != len(t.tokens) {
		return nil, &ArgError{"weights", fmt.Sprintf("%d for %d tokens", len(weights), len(t.tokens))}
	}
	h := hashSource("weights/1", uint64(len(weights)))
	for i, w := range weights {
		if !(w >= 0 && w <= math.MaxFloat32) {
			return nil, &ArgError{"weights", fmt.Sprintf("%v at %d: want 0 or a positive number", w, i)}
		}
		h.tokens([]int32{int32(math.Float32bits(w))})
	}
	weighted := *t
	weighted.weights, weighted.hash = weights, t.hash+"+"+h.sum()
	return &weighted, nil
}

// Starts puts the places in Tokens where the rows of a step begin into dst,
// which has one element for each row.
func (t *Text) Starts(dst []int, step int64) error {
	if step < 0 {
		return &StepError{step, -1}
	}
	if len(dst) != t.rows {
		return &ArgError{"dst", fmt.Sprintf("%d elements for %d rows", len(dst), t.rows)}
	}
	for r := range dst {
		dst[r] = t.start(step, r)
	}
	return nil
}

func (t *Text) start(step int64, row int) int {
	places := (len(t.tokens) - t.stretch() + t.stride - 1) / t.stride
	return t.stride * below(Mix(t.seed, drawCrop, uint64(step), uint64(row)), places)
}

// Fill implements [Source].
func (t *Text) Fill(b *Batch, step int64) error {
	if step < 0 {
		return &StepError{step, -1}
	}
	b.Reset(t.rows, t.time)
	for r := range t.rows {
		start := t.start(step, r)
		text := t.tokens[start:][:t.stretch()+1]
		b.crop(r, t.begin, text)
		at := r*t.time + len(t.begin)
		if len(t.begin) > 0 { // the first token of the text can be learnt too
			b.Weights[at-1] = 1
			if t.weights != nil {
				b.Weights[at-1] = t.weights[start]
			}
		}
		if t.weights != nil {
			copy(b.Weights[at:][:t.stretch()], t.weights[start+1:])
		}
	}
	return nil
}

// crop makes row r predict each token of a stretch of text, but for its first, from begin and those before it.
func (b *Batch) crop(r int, begin, text []int32) {
	at, n := r*b.Time, len(text)-1
	if m := len(begin); m > 0 {
		copy(b.Inputs[at:], begin)
		copy(b.Targets[at:], begin[1:])
		b.Targets[at+m-1] = text[0]
		at += m
	}
	copy(b.Inputs[at:], text[:n])
	copy(b.Targets[at:], text[1:])
	for i := range n {
		b.Weights[at+i] = 1
	}
}

// TextEval walks a held-out text in windows that do not overlap: window w reads
// the tokens from w·time on and predicts the time tokens after each. Every token
// but the very first, which nothing precedes, is a target exactly once; what
// the last windows lack has weight 0. Where the tokenizer puts tokens before a
// text, every window reads those first, and so less of the text.
type TextEval struct {
	begin      []int32
	tokens     []int32
	rows, time int
	bytes      int64
	hash       string
}

// NewTextEval makes an evaluation over tokens, which tok made and which must not
// change afterwards. It fails with *TooShortError below two tokens, with
// *ArgError, also where what comes before a text leaves no room for it, and with *tokenizer.IDError for a token that is not of tok.
func NewTextEval(tok tokenizer.Tokenizer, tokens []int32, rows, time int) (*TextEval, error) {
	if err := checkShape(rows, time); err != nil {
		return nil, err
	}
	if len(tokens) < 2 {
		return nil, &TooShortError{What: "held-out text", Unit: "tokens", Have: len(tokens), Need: 2}
	}
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	begin, _ := tok.Template()
	if err := checkBegin(begin, time); err != nil {
		return nil, err
	}
	bytes, err := TokenBytes(tok, tokens[1:])
	if err != nil {
		return nil, err
	}
	h := hashSource("texteval/1", uint64(rows), uint64(time))
	h.tokens(tokens)
	if len(begin) > 0 {
		h.tokens(begin)
	}
	return &TextEval{begin, tokens, rows, time, bytes, h.sum()}, nil
}

func (t *TextEval) Shape() (rows, time int) { return t.rows, t.time }
func (t *TextEval) TokensPerStep() int      { return t.rows * t.time }
func (t *TextEval) Hash() string            { return t.hash }
func (t *TextEval) Weight() float64         { return float64(len(t.tokens) - 1) }
func (t *TextEval) Bytes() float64          { return float64(t.bytes) }

func (t *TextEval) stretch() int   { return t.time - len(t.begin) }
func (t *TextEval) windows() int64 { return ceilDiv(int64(len(t.tokens)-1), int64(t.stretch())) }

// Batches implements [Eval].
func (t *TextEval) Batches() int64 { return ceilDiv(t.windows(), int64(t.rows)) }

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// Fill implements [Source].
func (t *TextEval) Fill(b *Batch, step int64) error {
	if step < 0 || step >= t.Batches() {
		return &StepError{step, t.Batches()}
	}
	b.Reset(t.rows, t.time)
	for r := range t.rows {
		w := step*int64(t.rows) + int64(r)
		if w >= t.windows() {
			break
		}
		from := int(w) * t.stretch()
		b.crop(r, t.begin, t.tokens[from:min(from+t.stretch()+1, len(t.tokens))])
	}
	return nil
}
