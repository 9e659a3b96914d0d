package distill

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// spelled cuts a text into the longest pieces.
func spelled(text string, pieces []string) (ids []int32) {
	for text != "" {
		best := -1
		for id, p := range pieces {
			if p != "" && strings.HasPrefix(text, p) && (best < 0 || len(p) > len(pieces[best])) {
				best = id
			}
		}
		ids = append(ids, int32(best))
		text = text[len(pieces[best]):]
	}
	return ids
}

// textCase is a teacher and a student that cut one text differently.
type textCase struct {
	student, teacher []string
	text             string
	begin            []int32
	rows, time       int
}

func randomText(alphabet []string, n int) string {
	r := rand.New(rand.NewPCG(3, 5))
	var b strings.Builder
	for range n {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func (c *textCase) open(t *testing.T, b backend.Backend) (*Text, *model.Model, *data.Text) {
	t.Helper()
	source, err := data.NewText(spelled(c.text, c.student), c.rows, c.time, 1)
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := model.New(b, arch.Edge(len(c.teacher), 64, 2, 16, 4, 2), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := teacher.Initialize(9, model.Init{Std: 0.5}); err != nil {
		t.Fatal(err)
	}
	return &Text{Source: source, Pieces: c.student, Teachers: []Reading{{Tokens: spelled(c.text, c.teacher), Pieces: c.teacher, Begin: c.begin}}}, teacher, source
}

// distributions are the teacher's after each of some tokens.
func distributions(t *testing.T, m *model.Model, ids []int32) [][]float32 {
	t.Helper()
	b := m.Backend()
	a, err := m.NewActivations(1, len(ids), false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	at := make([]int32, len(ids))
	for i := range at {
		at[i] = int32(i)
	}
	host := make([]float32, len(ids)*m.Config.VocabSize)
	if err := backend.First(b.Upload(a.Inputs, ids), b.Upload(a.Positions, at), m.Forward(a), b.Download(host, a.Logits)); err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	for row := range slices.Chunk(host, m.Config.VocabSize) {
		sum := 0.0
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		for i, x := range row {
			row[i] = float32(math.Exp(float64(x)) / sum)
		}
		out = append(out, row)
	}
	return out
}

// want is the definition in the doc of Text, by going through all tokens and symbols; context is what the teacher has read
// before its token first.
func (c *textCase) want(tokens []int32, first int, dist [][]float32, p, end int) []float64 {
	out := make([]float64, len(c.student))
	begin := 0
	for _, id := range tokens[:first] {
		begin += len(c.teacher[id])
	}
	path := 1.0
	for j := first; j < len(tokens) && begin < end; j++ {
		d := dist[j-first]
		for s, symbol := range c.student {
			if symbol == "" {
				continue
			}
			whole := c.text[:p] + symbol
			if begin >= len(whole) || whole[:begin] != c.text[:begin] {
				continue
			}
			for id, piece := range c.teacher {
				if piece != "" && strings.HasPrefix(piece, whole[begin:]) {
					out[s] += path * float64(d[id])
				}
			}
		}
		path *= float64(d[tokens[j]])
		begin += len(c.teacher[tokens[j]])
	}
	sum := 0.0
	for _, x := range out {
		sum += x
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// What a teacher with other tokens says of the next character is the sum over all its tokens and all boundaries.
func TestText(t *testing.T) {
	b := cpu.New(2)
	defer b.Close()
	letters := []string{"a", "b", "c", "é", "è", "日", ""}
	bytes := []string{"a", "b", "c", "\xc3", "\xa9", "\xa8", "\xe6", "\x97", "\xa5"}
	pairs := append([]string{"", "ab", "abc", "bc", "ca", "aa", "é", "c\xc3", "\xa9a", "bé", "日a", "cab"}, bytes...)
	long := randomText([]string{"a", "b", "c", "ab", "é", "è", "日", "abc"}, 120)
	for name, c := range map[string]textCase{
		"characters under BPE":      {letters, pairs, long, nil, 4, 9},
		"bytes under BPE":           {bytes, pairs, long, nil, 4, 9},
		"a token before every text": {letters, pairs, long, []int32{0}, 4, 9},
		"characters under bytes":    {letters, bytes, long, nil, 4, 9},
		"a whole text in a row":     {letters, pairs, long[:len("abcab")] + "abca", []int32{0}, 1, 8},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a whole text in a row" {
				c.text = "abcabcaab"
			}
			text, teacher, source := c.open(t, b)
			defer teacher.Close()
			al, err := newAligner(text, teacher, &text.Teachers[0])
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := al.close(); err != nil {
					t.Error(err)
				}
			}()
			symbols, err := text.symbols()
			if err != nil {
				t.Fatal(err)
			}
			starts := make([]int, c.rows)
			checked := 0
			for step := range int64(3) {
				if err := source.Starts(starts, step); err != nil {
					t.Fatal(err)
				}
				r, err := al.ask(b, starts, c.time)
				if err != nil {
					t.Fatal(err)
				}
				for row, start := range starts {
					got := make([]float32, c.time*len(c.student))
					al.say(r, symbols, start, c.time, row, got, len(c.student), 1, 1)
					// The teacher's first token in the row has a distribution only where something stands before it.
					first, read := r.first[row], slices.Clone(c.begin)
					read = append(read, text.Teachers[0].Tokens[first:min(first+al.window-len(c.begin), len(text.Teachers[0].Tokens))]...)
					dist := distributions(t, teacher, read)
					switch {
					case len(c.begin) == 0:
						first++
					case first > 0:
						first, dist = first+1, dist[1:]
					}
					for i := range c.time {
						p, end := al.places[start+i+1], al.places[start+i+2]
						if al.begins[first] > p {
							label := source.Tokens()[start+i+1]
							if got[i*len(c.student)+int(label)] != 1 {
								t.Errorf("row %d, %d: nothing is known, and it is not the label: %v", row, i, got[i*len(c.student):][:len(c.student)])
							}
							continue
						}
						want := c.want(text.Teachers[0].Tokens, first, dist, p, end)
						for s, w := range want {
							if g := float64(got[i*len(c.student)+s]); math.Abs(g-w) > 1e-5 {
								t.Fatalf("step %d, row %d, %q after %q: %v, want %v", step, row, c.student[s], c.text[max(0, p-9):p], g, w)
							}
						}
						checked++
					}
				}
			}
			if checked < 20 {
				t.Errorf("%d places compared", checked)
			}
		})
	}
}

// Of a teacher with the student's own tokens the text says what the teacher says.
func TestTextOfTheSameTokens(t *testing.T) {
	b := cpu.New(2)
	defer b.Close()
	pieces := strings.Split("abcdefghijk", "")
	student, teacher := newModel(t, b, 16, true), newModel(t, b, 32, false)
	s := source(t)
	o := Options{Temperature: 1, Alpha: 0.25, TopK: 4}
	same, err := New(student, train.NewLabels(b, s, train.Defaults()), []*model.Model{teacher}, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	text := &Text{Source: s, Pieces: pieces, Teachers: []Reading{{Tokens: s.Tokens(), Pieces: pieces}}}
	// The teacher's context is that of a row, so that it reads nothing before it.
	other, err := NewOfText(student, train.NewLabels(b, s, train.Defaults()), []*model.Model{teacher}, nil, o, text)
	if err != nil {
		t.Fatal(err)
	}
	if same.Hash() == other.Hash() {
		t.Error("the objectives are others and have one hash")
	}
	want, wantGrad := pass(t, student, same, 1)
	got, gotGrad := pass(t, student, other, 1)
	for i := range want {
		if math.Abs(float64(want[i]-got[i])) > 1e-4 {
			t.Fatalf("loss %d: %v, want %v", i, got[i], want[i])
		}
	}
	for i := range wantGrad {
		if math.Abs(float64(wantGrad[i]-gotGrad[i])) > 1e-5 {
			t.Fatalf("gradient %d: %v, want %v", i, gotGrad[i], wantGrad[i])
		}
	}
	if err := errors.Join(same.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
}

// Texts that cannot be brought together are refused with what to do.
func TestTextRefuses(t *testing.T) {
	b := cpu.New(2)
	defer b.Close()
	good := textCase{[]string{"a", "b"}, []string{"a", "b", "ab"}, randomText([]string{"a", "b"}, 300), nil, 2, 9}
	for name, c := range map[string]struct {
		edit func(text *Text, teacher *model.Model)
		says string
	}{
		"a token begins another": {func(x *Text, _ *model.Model) { x.Pieces = []string{"a", "b", "ab"} }, "--tokenizer teacher, chars or bytes"},
		"two of one text":        {func(x *Text, _ *model.Model) { x.Pieces = []string{"a", "b", "b"} }, "begins others"},
		"a token without text":   {func(x *Text, _ *model.Model) { x.Pieces = []string{"a", ""} }, "stands for no text"},
		"another text":           {func(x *Text, _ *model.Model) { x.Teachers[0].Tokens = slices.Clone(x.Teachers[0].Tokens[1:]) }, "changes the text"},
		"a small teacher":        {func(_ *Text, m *model.Model) { m.Config.VocabSize = 2 }, "tokenizer has 3 tokens"},
		"a short context":        {func(_ *Text, m *model.Model) { m.Config.Context = 3 }, "--context"},
	} {
		text, teacher, _ := good.open(t, b)
		student, err := model.New(b, arch.Edge(2, 9, 1, 16, 4, 2), false)
		if err != nil {
			t.Fatal(err)
		}
		c.edit(text, teacher)
		var e *TextError
		if err := Check(student, []*model.Model{teacher}, 9, Defaults(), text); !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if err := errors.Join(teacher.Close(), student.Close()); err != nil {
			t.Error(err)
		}
	}
}
