package data

import (
	"errors"
	"hash/fnv"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mito/engine/tokenizer"
)

func chars(t testing.TB, text string, specials ...string) tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.NewChars(text, specials...)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func fill(t testing.TB, s Source, step int64) *Batch {
	t.Helper()
	var b Batch
	if err := s.Fill(&b, step); err != nil {
		t.Fatal(err)
	}
	rows, time := s.Shape()
	if b.Rows != rows || b.Time != time || len(b.Inputs) != rows*time || len(b.Targets) != rows*time ||
		len(b.Weights) != rows*time || len(b.Positions) != rows*time || s.TokensPerStep() != rows*time {
		t.Fatalf("a batch of %d x %d with %d elements, want %d x %d", b.Rows, b.Time, len(b.Inputs), rows, time)
	}
	for i, p := range b.Positions {
		if int(p) != i%time {
			t.Fatalf("position %d at %d of rows of %d", p, i, time)
		}
	}
	return &b
}

func equal(a, b *Batch) bool {
	return a.Rows == b.Rows && a.Time == b.Time && slices.Equal(a.Inputs, b.Inputs) && slices.Equal(a.Targets, b.Targets) &&
		slices.Equal(a.Weights, b.Weights) && slices.Equal(a.Positions, b.Positions)
}

func seq(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	return ids
}

// sources gives one of each kind.
func sources(t testing.TB, seed uint64) map[string]Source {
	t.Helper()
	tok := chars(t, "abcdefgh0123456789", tokenizer.EndOfText)
	text, err := NewText(seq(100), 5, 8, seed)
	if err != nil {
		t.Fatal(err)
	}
	ex := []Example{{Prompt: "ab", Answers: []string{"1"}}, {Prompt: "abc", Answers: []string{"22", "3", "4"}}, {Prompt: "d", Answers: []string{"55555"}}, {Prompt: "efgh", Answers: []string{"6", "77"}}}
	examples, err := NewExamples(tok, ex, 5, seed, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	textEval, err := NewTextEval(chars(t, "abcdefgh"), seq(8)[:7], 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	exEval, err := NewExamplesEval(tok, ex, 3, ExampleOptions{EOS: true, Time: 20})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Source{"text": text, "examples": examples, "text eval": textEval, "examples eval": exEval}
}

// TestResume: a step's batch does not depend on the steps drawn before, on what
// the batch held, or on the process: a source made again gives the same.
func TestResume(t *testing.T) {
	first, again, other := sources(t, 7), sources(t, 7), sources(t, 8)
	for name, s := range first {
		if s.Hash() != again[name].Hash() {
			t.Errorf("%s: the hash is not reproducible", name)
		}
		if _, eval := s.(Eval); !eval && s.Hash() == other[name].Hash() {
			t.Errorf("%s: another seed has the same hash", name)
		}
		steps := int64(40)
		if e, ok := s.(Eval); ok {
			steps = e.Batches()
		}
		reused, same := &Batch{}, true
		for step := range steps {
			want := fill(t, s, step)
			if err := s.Fill(reused, step); err != nil || !equal(reused, want) {
				t.Fatalf("%s: step %d into a used batch differs: %v", name, step, err)
			}
			if got := fill(t, again[name], step); !equal(got, want) {
				t.Fatalf("%s: step %d of a source made again differs", name, step)
			}
			same = same && equal(want, fill(t, other[name], step))
		}
		if _, eval := s.(Eval); !eval && same {
			t.Errorf("%s: the seed changes nothing", name)
		}
		var step *StepError
		for _, bad := range []int64{-1, -1 << 63} {
			if err := s.Fill(reused, bad); !errors.As(err, &step) {
				t.Errorf("%s: step %d: %v, want a StepError", name, bad, err)
			}
		}
		if e, ok := s.(Eval); ok {
			if err := s.Fill(reused, e.Batches()); !errors.As(err, &step) {
				t.Errorf("%s: a step too many: %v, want a StepError", name, err)
			}
		}
		if n := testing.AllocsPerRun(10, func() { _ = s.Fill(reused, steps-1) }); n != 0 {
			t.Errorf("%s: Fill allocates %v times", name, n)
		}
	}
}

// TestPinned: a seed means the same batches in every version.
func TestPinned(t *testing.T) {
	want := map[string]uint64{"text": 0x8186507e94f50ae5, "examples": 0x1313e807faaa26c5}
	for name := range want {
		s := sources(t, 1)[name]
		h := fnv.New64a()
		for step := range int64(16) {
			b := fill(t, s, step)
			for i := range b.Inputs {
				_, _ = h.Write([]byte{byte(b.Inputs[i]), byte(b.Targets[i]), byte(b.Weights[i])})
			}
		}
		if got := h.Sum64(); got != want[name] {
			t.Errorf("%s: batches hash to %#x, want %#x", name, got, want[name])
		}
	}
}

// TestHashCoversAll: whatever changes the batches changes the hash.
func TestHashCoversAll(t *testing.T) {
	tok := chars(t, "abc0123", tokenizer.EndOfText)
	text := func(tokens []int32, rows, time int) string {
		s, err := NewText(tokens, rows, time, 1)
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash()
	}
	ex := func(rows int, o ExampleOptions, e ...Example) string {
		s, err := NewExamples(tok, e, rows, 1, o)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := NewExamplesEval(tok, e, rows, o)
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash() + ev.Hash()
	}
	hashes := []string{
		text(seq(20), 2, 3), text(seq(21), 2, 3), text(seq(20), 3, 2), text(seq(20), 3, 3), text(append(seq(19), 5), 2, 3),
		ex(2, ExampleOptions{}, Example{Prompt: "ab", Answers: []string{"1"}}),
		ex(3, ExampleOptions{}, Example{Prompt: "ab", Answers: []string{"1"}}),
		ex(2, ExampleOptions{EOS: true}, Example{Prompt: "ab", Answers: []string{"1"}}),
		ex(2, ExampleOptions{Time: 9}, Example{Prompt: "ab", Answers: []string{"1"}}),
		ex(2, ExampleOptions{}, Example{Prompt: "ab", Answers: []string{"1", "2"}}),
		ex(2, ExampleOptions{}, Example{Prompt: "ab", Answers: []string{"12"}}),
		ex(2, ExampleOptions{}, Example{Prompt: "a", Answers: []string{"b1"}}),
		ex(2, ExampleOptions{}, Example{Prompt: "ab", Answers: []string{"1"}}, Example{Prompt: "a", Answers: []string{"1"}}),
	}
	for i, h := range hashes {
		if j := slices.Index(hashes, h); j != i {
			t.Errorf("sources %d and %d have one hash", j, i)
		}
	}
}

// TestMicro: micro-batches are the batch in order, and their weights add up to
// its weight, which is the denominator, however ragged the rows are.
func TestMicro(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := sources(t, rapid.Uint64().Draw(rt, "seed"))["examples"]
		b := fill(t, s, rapid.Int64Range(0, 1000).Draw(rt, "step"))
		if b.Weight() >= float64(len(b.Weights)) || b.Weight() < float64(b.Rows) {
			rt.Fatalf("weight %v of %d padded targets", b.Weight(), len(b.Weights))
		}
		for _, m := range []int{1, 2, 5, 8} {
			var all Batch
			weight := 0.0
			for i := range m {
				part := b.Micro(i, m)
				if part.Rows < b.Rows/m || part.Rows > b.Rows/m+1 {
					rt.Fatalf("%d rows in part %d of %d", part.Rows, i, m)
				}
				all.Rows, all.Time = all.Rows+part.Rows, part.Time
				all.Inputs = append(all.Inputs, part.Inputs...)
				all.Targets = append(all.Targets, part.Targets...)
				all.Weights = append(all.Weights, part.Weights...)
				all.Positions = append(all.Positions, part.Positions...)
				weight += part.Weight()
			}
			if !equal(&all, b) || weight != b.Weight() {
				rt.Fatalf("%d parts are not the batch: weight %v, want %v", m, weight, b.Weight())
			}
		}
	})
}

func TestSliceIsAView(t *testing.T) {
	b := fill(t, sources(t, 1)["text"], 0)
	part := b.Slice(1, 3)
	part.Weights[0] = 9
	if b.Weights[b.Time] != 9 || part.Rows != 2 || cap(part.Inputs) != 2*b.Time {
		t.Error("a slice must share memory and not reach beyond its rows")
	}
}

// TestDrawsPinned fixes the numbers themselves.
func TestDrawsPinned(t *testing.T) {
	if got, want := Mix(1, 2, 3), uint64(0xd0734750fde362b3); got != want {
		t.Errorf("Mix(1,2,3) = %#x, want %#x", got, want)
	}
	if got, want := Mix(0), uint64(0xE220A8397B1DCDAF); got != want { // SplitMix64's first output from state 0
		t.Errorf("Mix(0) = %#x, want %#x", got, want)
	}
	var got []int
	for i := range 10 {
		got = append(got, permute(i, 10, 42))
	}
	if want := []int{2, 6, 0, 7, 9, 1, 5, 4, 8, 3}; !slices.Equal(got, want) {
		t.Errorf("permutation %v, want %v", got, want)
	}
}

func TestPermute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, key := rapid.IntRange(1, 300).Draw(t, "n"), rapid.Uint64().Draw(t, "key")
		seen := make([]bool, n)
		for i := range n {
			p := permute(i, n, key)
			if p < 0 || p >= n || seen[p] {
				t.Fatalf("%d goes to %d", i, p)
			}
			seen[p] = true
		}
	})
}

// TestDrawsUniform: chi-square with n-1 degrees of freedom has mean n-1 and
// variance 2(n-1); six standard deviations leave no room for luck.
func TestDrawsUniform(t *testing.T) {
	const draws = 20000
	for _, n := range []int{2, 3, 7, 10, 64} {
		for name, draw := range map[string]func(k uint64) int{
			"below":        func(k uint64) int { return below(Mix(3, k), n) },
			"first place":  func(k uint64) int { return permute(0, n, Mix(k)) },
			"last place":   func(k uint64) int { return permute(n-1, n, Mix(k)) },
			"neighbouring": func(k uint64) int { return (permute(0, n, Mix(k)) - permute(1, n, Mix(k)) + n) % n },
		} {
			counts := make([]float64, n)
			for k := range uint64(draws) {
				counts[draw(k)]++
			}
			cells := counts
			if name == "neighbouring" { // never 0: two places differ
				if counts[0] != 0 {
					t.Fatalf("n=%d: two elements share a place", n)
				}
				cells = counts[1:]
			}
			df, chi, want := float64(len(cells)-1), 0.0, draws/float64(len(cells))
			for _, c := range cells {
				chi += (c - want) * (c - want) / want
			}
			if dev := chi - df; dev*dev > 36*2*df {
				t.Errorf("n=%d %s: chi-square %.1f with %v degrees of freedom: %v", n, name, chi, df, counts)
			}
		}
	}
}
