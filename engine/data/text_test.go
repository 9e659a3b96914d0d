package data

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mito/engine/tokenizer"
)

// TestTextCrops: every row is a stretch of the stream, targets are the inputs
// moved by one, all places occur and equally often.
func TestTextCrops(t *testing.T) {
	const n, rows, time, steps = 40, 8, 16, 2000
	s, err := NewText(seq(n), rows, time, 5)
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]float64, n-time)
	starts := make([]int, rows)
	for step := range int64(steps) {
		b := fill(t, s, step)
		if err := s.Starts(starts, step); err != nil {
			t.Fatal(err)
		}
		for r, start := range starts {
			for i := range time {
				k := r*time + i
				if b.Inputs[k] != int32(start+i) || b.Targets[k] != int32(start+i+1) || b.Weights[k] != 1 {
					t.Fatalf("step %d row %d: inputs %v, targets %v from %d", step, r, b.Inputs, b.Targets, start)
				}
			}
			counts[start]++
		}
	}
	chi, want := 0.0, float64(rows*steps)/float64(len(counts))
	for _, c := range counts {
		chi += (c - want) * (c - want) / want
	}
	if df := float64(len(counts) - 1); math.Abs(chi-df) > 6*math.Sqrt(2*df) {
		t.Errorf("chi-square %.1f with %v degrees of freedom: %v", chi, df, counts)
	}
	if got := s.Tokens(); !slices.Equal(got, seq(n)) {
		t.Errorf("tokens %v", got)
	}
}

// TestTextEval: every token but the first is a target exactly once, with the
// tokens before it in its window as inputs, and the sums agree.
func TestTextEval(t *testing.T) {
	letters := "abcdefghijklmnopqrstuvwxyzäöü日本"
	tok := chars(t, letters)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(letters)), 2, 90, -1).Draw(rt, "text")
		tokens, err := tok.Encode(text)
		if err != nil {
			rt.Fatal(err)
		}
		rows, time := rapid.IntRange(1, 5).Draw(rt, "rows"), rapid.IntRange(1, 20).Draw(rt, "time")
		e, err := NewTextEval(tok, tokens, rows, time)
		if err != nil {
			rt.Fatal(err)
		}
		var inputs, targets []int32
		weight := 0.0
		for step := range e.Batches() {
			b := fill(t, e, step)
			weight += b.Weight()
			if b.Weight() == 0 {
				rt.Fatalf("batch %d of %d scores nothing", step, e.Batches())
			}
			for i, w := range b.Weights {
				if w == 1 {
					inputs, targets = append(inputs, b.Inputs[i]), append(targets, b.Targets[i])
				} else if w != 0 || b.Inputs[i] != 0 || b.Targets[i] != 0 {
					rt.Fatalf("padding holds %v, %v of weight %v", b.Inputs[i], b.Targets[i], w)
				}
			}
		}
		if !slices.Equal(targets, tokens[1:]) || !slices.Equal(inputs, tokens[:len(tokens)-1]) {
			rt.Fatalf("scored %v, want %v", targets, tokens[1:])
		}
		first, _ := tok.Decode(tokens[:1])
		if weight != e.Weight() || e.Bytes() != float64(len(text)-len(first)) {
			rt.Fatalf("weight %v and %v, bytes %v of %d", weight, e.Weight(), e.Bytes(), len(text))
		}
	})
}

func TestTextRefuses(t *testing.T) {
	tok := chars(t, "abc")
	text := func(tokens []int32, rows, time int) error { _, err := NewText(tokens, rows, time, 0); return err }
	eval := func(tokens []int32, rows, time int) error { _, err := NewTextEval(tok, tokens, rows, time); return err }
	var short *TooShortError
	var arg *ArgError
	var id *tokenizer.IDError
	for name, c := range map[string]struct {
		err  error
		want any
	}{
		"short":          {text(seq(8), 1, 8), &short},
		"empty":          {text(nil, 1, 8), &short},
		"rows":           {text(seq(9), 0, 8), &arg},
		"time":           {text(seq(9), 1, -8), &arg},
		"huge":           {text(seq(9), 1<<20, 1<<20), &arg},
		"negative":       {text([]int32{1, -1, 1}, 1, 1), &arg},
		"eval short":     {eval(seq(1), 1, 8), &short},
		"eval shape":     {eval(seq(2), 1, 0), &arg},
		"eval negative":  {eval([]int32{0, -1}, 1, 1), &arg},
		"eval not ours":  {eval([]int32{0, 3}, 1, 1), &id},
		"starts of none": {(&Text{rows: 2}).Starts(make([]int, 1), 0), &arg},
	} {
		if c.err == nil || !errors.As(c.err, c.want) {
			t.Errorf("%s: got %v, want a %T", name, c.err, c.want)
		}
	}
	if err := text(seq(9), 1, 8); err != nil {
		t.Errorf("one token more than the context must do: %v", err)
	}
}

// TestBitsPerByteAcrossVocabularies: one code for a text has one cost in bits
// per byte, however the text is cut into tokens; nats per token differ.
func TestBitsPerByteAcrossVocabularies(t *testing.T) {
	text := strings.Repeat("Größe und Güte, naïve Ångström; the quick brown fox. ", 40)
	bpe, err := tokenizer.TrainBPE(text, 300)
	if err != nil {
		t.Fatal(err)
	}
	const natsPerByte = 1.25
	var perToken []float64
	for name, tok := range map[string]tokenizer.Tokenizer{"chars": chars(t, text), "bpe": bpe} {
		tokens, err := tok.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewTextEval(tok, tokens, 4, 32)
		if err != nil {
			t.Fatal(err)
		}
		// A model whose loss on each token is proportional to the token's bytes,
		// scored batch by batch as an evaluation loop would.
		var loss Loss
		var targets []int32
		for step := range e.Batches() {
			b := fill(t, e, step)
			part := Loss{Weight: b.Weight()}
			for i, w := range b.Weights {
				if w == 0 {
					continue
				}
				piece, err := tok.AppendToken(nil, b.Targets[i])
				if err != nil {
					t.Fatal(err)
				}
				part.Nats += natsPerByte * float64(len(piece))
				part.Bytes += float64(len(piece))
				targets = append(targets, b.Targets[i])
			}
			loss.Add(part)
		}
		if loss.Bytes != e.Bytes() || loss.Weight != e.Weight() {
			t.Errorf("%s: walked %v bytes, weight %v; declared %v, %v", name, loss.Bytes, loss.Weight, e.Bytes(), e.Weight())
		}
		scored, err := tok.Decode(targets)
		if err != nil || float64(len(scored)) != e.Bytes() {
			t.Errorf("%s: %v bytes declared for %d bytes of text", name, e.Bytes(), len(scored))
		}
		// The sums have len(tokens) terms; each rounds by at most 2^-53 relative.
		want := natsPerByte / math.Ln2
		if got := loss.BitsPerByte(); math.Abs(got-want) > want*float64(len(tokens))*0x1p-53 {
			t.Errorf("%s: %v bits per byte, want %v", name, got, want)
		}
		perToken = append(perToken, loss.PerToken())
	}
	if r := perToken[0] / perToken[1]; r > 0.7 && r < 1/0.7 {
		t.Errorf("nats per token %v hardly differ: the test tests nothing", perToken)
	}
}

// TestUniformBitsPerByte: guessing uniformly among 256 byte tokens costs 8 bits
// a byte, also for characters of several bytes.
func TestUniformBitsPerByte(t *testing.T) {
	bytes, err := tokenizer.TrainBPE("x", 256)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := bytes.Encode("日本語")
	if err != nil {
		t.Fatal(err)
	}
	n, err := TokenBytes(bytes, tokens)
	if err != nil || n != 9 {
		t.Fatalf("%d bytes, %v, want 9", n, err)
	}
	if got := BitsPerByte(9*math.Log(256), float64(n)); math.Abs(got-8) > 8*4*0x1p-53 {
		t.Errorf("%v bits per byte, want 8", got)
	}
	var none Loss
	if !math.IsNaN(none.BitsPerByte()) || !math.IsNaN(none.PerToken()) {
		t.Error("nothing scored must not look like a perfect score")
	}
	var id *tokenizer.IDError
	if _, err := TokenBytes(bytes, []int32{256}); !errors.As(err, &id) {
		t.Errorf("got %v, want an IDError", err)
	}
}

// Rows of a grid begin at its points, at all of them, and come again; a grid of one is the source itself.
func TestGrid(t *testing.T) {
	tokens := make([]int32, 100)
	for i := range tokens {
		tokens[i] = int32(i)
	}
	text, err := NewText(tokens, 4, 8, 7)
	if err != nil {
		t.Fatal(err)
	}
	grid, err := text.Grid(8)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	starts := make([]int, 4)
	for step := range int64(200) {
		if err := grid.Starts(starts, step); err != nil {
			t.Fatal(err)
		}
		for _, s := range starts {
			seen[s] = true
			if s%8 != 0 || s+8 >= len(tokens) {
				t.Fatalf("a row begins at %d", s)
			}
		}
	}
	if len(seen) != 12 { // 0, 8, … 88
		t.Errorf("%d places, want 12", len(seen))
	}
	one, err := text.Grid(1)
	if err != nil || one.Hash() != text.Hash() || grid.Hash() == text.Hash() {
		t.Errorf("hashes %.8s, %.8s and %.8s, %v", one.Hash(), text.Hash(), grid.Hash(), err)
	}
	if _, err := text.Grid(0); err == nil {
		t.Error("a grid without points")
	}
}

// TestAfter: every row begins with the same tokens, whose own targets do not count, and goes on with a stretch of the text, of which
// every token can be learnt.
func TestAfter(t *testing.T) {
	const n, rows, time = 40, 4, 8
	begin := []int32{98, 99}
	plain, err := NewText(seq(n), rows, time, 5)
	if err != nil {
		t.Fatal(err)
	}
	s, err := plain.After(begin)
	if err != nil {
		t.Fatal(err)
	}
	weights := make([]float32, n)
	for i := range weights {
		weights[i] = float32(i) + 1
	}
	weighted, err := s.Weighted(weights)
	if err != nil {
		t.Fatal(err)
	}
	starts, seen := make([]int, rows), map[int]bool{}
	for step := range int64(300) {
		b, w := fill(t, s, step), fill(t, weighted, step)
		if err := s.Starts(starts, step); err != nil {
			t.Fatal(err)
		}
		for r, start := range starts {
			seen[start] = true
			inputs, targets, given := slices.Clone(begin), []int32{99}, []float32{0}
			for i := range time - 1 {
				if i < time-2 {
					inputs = append(inputs, int32(start+i))
				}
				targets, given = append(targets, int32(start+i)), append(given, weights[start+i])
			}
			at, end := r*time, (r+1)*time
			if !slices.Equal(b.Inputs[at:end], inputs) || !slices.Equal(b.Targets[at:end], targets) || !slices.Equal(w.Weights[at:end], given) {
				t.Fatalf("a row from %d on: inputs %v, targets %v, weights %v", start, b.Inputs[at:end], b.Targets[at:end], w.Weights[at:end])
			}
			if b.Weights[at] != 0 || slices.Contains(b.Weights[at+1:end], 0) {
				t.Fatalf("weights %v", b.Weights[at:end])
			}
		}
	}
	if len(seen) != n-(time-2) {
		t.Errorf("%d places, want %d", len(seen), n-(time-2))
	}
	same, err := plain.After(nil)
	if err != nil || same != plain || s.Hash() == plain.Hash() {
		t.Errorf("hashes %.8s and %.8s, %v", s.Hash(), plain.Hash(), err)
	}
	var arg *ArgError
	if _, err := plain.After(seq(time)); !errors.As(err, &arg) {
		t.Errorf("no room: %v", err)
	}
}

// templated is a tokenizer that puts tokens before a text.
type templated struct {
	tokenizer.Tokenizer
	begin []int32
}

func (t templated) Template() (before, after []int32) { return t.begin, nil }

// TestTextEvalAfter: with tokens before a text every window begins with them, and the same tokens are targets once.
func TestTextEvalAfter(t *testing.T) {
	tok := chars(t, "abcdefghijklm")
	tokens := seq(13)
	for _, begin := range [][]int32{nil, {0}, {1, 2}} {
		e, err := NewTextEval(templated{tok, begin}, tokens, 2, 5)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int32]int{}
		for step := range e.Batches() {
			b := fill(t, e, step)
			for r := range b.Rows {
				row := b.Inputs[r*5:][:5]
				for i, w := range b.Weights[r*5:][:5] {
					if w == 0 {
						continue
					}
					seen[b.Targets[r*5+i]]++
					if !slices.Equal(row[:len(begin)], begin) || row[i] != b.Targets[r*5+i]-1 {
						t.Fatalf("%v before %d of %v", row, b.Targets[r*5+i], begin)
					}
				}
			}
		}
		if len(seen) != 12 || seen[0] != 0 || e.Weight() != 12 || e.Bytes() != 12 {
			t.Errorf("after %v: targets %v, weight %v, bytes %v", begin, seen, e.Weight(), e.Bytes())
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("after %v: token %d is a target %d times", begin, id, n)
			}
		}
	}
	var arg *ArgError
	if _, err := NewTextEval(templated{tok, seq(5)}, tokens, 2, 5); !errors.As(err, &arg) {
		t.Errorf("no room: %v", err)
	}
}

// TestPromptTemplate: a prompt of an example begins with what the tokenizer puts before a text.
func TestPromptTemplate(t *testing.T) {
	e, err := NewExamplesEval(templated{chars(t, "abcd"), []int32{3}}, []Example{{Prompt: "ab", Answers: []string{"c"}}}, 1, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b := fill(t, e, 0); !slices.Equal(b.Inputs, []int32{3, 0, 1}) || !slices.Equal(b.Targets, []int32{0, 1, 2}) || !slices.Equal(b.Weights, []float32{0, 0, 1}) {
		t.Errorf("%+v", b)
	}
}
