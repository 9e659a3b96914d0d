package task

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"mito/engine/data"
)

// Exact is a task whose answers are texts: an answer is right if it is, character for character, one of the right ones of its
// prompt. A file of examples is one ([NewExamples]), and so is "commands". Every answer is followed by the tokenizer's
// end-of-text token, because answers differ in length.
//
// The set of answers is closed where few texts answer all prompts. A player is then held to them, as it is to the legal moves
// of a game; what it would have written without is told beside.
type Exact struct {
	name, about string
	set         func() *exactSet
	notes       []string
}

// exactSet is the prompts of an Exact task.
type exactSet struct {
	prompts  []exactPrompt
	byPrompt map[string]int
	closed   []string // in increasing order, nil where the set is open
}

type exactPrompt struct {
	data.Example
	test bool
	line int // of the file, 0 for none
}

func newExactSet(prompts []exactPrompt, closed []string) *exactSet {
	s := &exactSet{prompts: prompts, byPrompt: make(map[string]int, len(prompts)), closed: closed}
	for i, p := range prompts {
		s.byPrompt[p.Prompt] = i
	}
	return s
}

// Writer is a Player that also answers without being held to anything.
type Writer interface {
	Player
	// Write returns for each prompt the text up to the end-of-text token, or up to the end of the context, and which of the two
	// it was.
	Write(prompts []string) ([]Written, error)
}

// Written is a text that a Writer wrote.
type Written struct {
	Text  string
	Ended bool // by the end-of-text token
}

// Name returns the name of the task.
func (t *Exact) Name() string { return t.name }

// Describe returns the prompt and answer format.
func (t *Exact) Describe() string {
	s := t.set()
	form := "any text; the end-of-text token ends it"
	if s.closed != nil {
		form = fmt.Sprintf("one of %d texts; the end-of-text token ends it", len(s.closed))
	}
	p := s.prompts[0]
	return fmt.Sprintf("%s\n\nPrompt: a text of any length, then %q. For example:\n    %s\nAnswer: %s. Here:\n    %s\n\nScore: held-out prompts answered exactly.\n",
		t.about, promptEnd, p.Prompt, form, p.Answers[0])
}

// Alphabet returns the characters of all prompts and answers.
func (t *Exact) Alphabet() string {
	seen := map[rune]bool{}
	add := func(text string) {
		for _, r := range text {
			seen[r] = true
		}
	}
	s := t.set()
	for _, p := range s.prompts {
		add(p.Prompt)
		for _, a := range p.Answers {
			add(a)
		}
	}
	for _, a := range s.closed {
		add(a)
	}
	all := make([]rune, 0, len(seen))
	for r := range seen {
		all = append(all, r)
	}
	slices.Sort(all)
	return string(all)
}

// Examples returns the prompts of a split with their right answers, in the order of the file.
func (t *Exact) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	if split != Train && split != Test && split != All {
		return nil, &SplitError{Split: split}
	}
	var out []data.Example
	for _, p := range t.set().prompts {
		if split == All || p.test == (split == Test) {
			out = append(out, p.Example)
		}
	}
	return out, ctx.Err()
}

// Solve returns the right answers of a prompt of the task.
func (t *Exact) Solve(prompt string) ([]string, error) {
	s := t.set()
	i, ok := s.byPrompt[prompt]
	if !ok {
		return nil, &PromptError{Task: t.name, Prompt: prompt, Reason: "is none of the task's"}
	}
	return s.prompts[i].Answers, nil
}

// Opponents returns nil: there is none.
func (*Exact) Opponents() []string { return nil }

// Closed is the set of texts that answer every prompt, nil where it is open.
func (t *Exact) Closed() []string { return t.set().closed }

// Notes says what a reader of the task's scores must know of its data.
func (t *Exact) Notes() []string { return t.notes }

// Line is the line of the file that a prompt stands on, 0 for none.
func (t *Exact) Line(prompt string) int {
	s := t.set()
	if i, ok := s.byPrompt[prompt]; ok {
		return s.prompts[i].line
	}
	return 0
}

// Ends says that every answer of a task is followed by the end-of-text token.
func Ends(t Task) bool {
	_, exact := t.(*Exact)
	return exact
}

// Commonest is the baseline that gives every prompt the commonest answer of the training part.
func (t *Exact) Commonest() Player {
	count := map[string]int{}
	for _, p := range t.set().prompts {
		if !p.test {
			for _, a := range p.Answers {
				count[a]++
			}
		}
	}
	best := ""
	for a, n := range count {
		if n > count[best] || n == count[best] && a < best {
			best = a
		}
	}
	return constant(best)
}

// constant answers every prompt alike.
type constant string

func (c constant) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	for i := range out {
		out[i] = Choice{Answer: string(c), OwnLegal: slices.Contains(legal[i], string(c))}
	}
	return out, nil
}

func (c constant) Write(prompts []string) ([]Written, error) {
	out := make([]Written, len(prompts))
	for i := range out {
		out[i] = Written{Text: string(c), Ended: true}
	}
	return out, nil
}

// asked is the number of prompts of one call of a player.
const asked = 256

// Score asks p the prompts of o.Split, o.Games of them at most, and counts the exact answers. Where the set of answers is
// open, p must be a Writer. o.Marker marks the answers too.
func (t *Exact) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(t.name)
	if err != nil {
		return Score{}, err
	}
	if o.Opponent != "" {
		return Score{}, &OpponentError{Task: t.name, Opponent: o.Opponent}
	}
	s := t.set()
	var tests []exactPrompt
	split := cmp.Or(o.Split, Test)
	for _, q := range s.prompts {
		if split == All || q.test == (split == Test) {
			tests = append(tests, q)
		}
	}
	tests = chosen(tests, o.Games, o.Seed)
	m := &marking{task: t, o: o, score: ExactScore{Split: split, Prompts: len(tests), Answers: len(s.closed), Constrained: s.closed != nil}}
	for from := 0; from < len(tests); from += asked {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		now := tests[from:min(from+asked, len(tests))]
		if err := m.ask(ctx, p, now, s.closed); err != nil {
			return Score{}, err
		}
		o.Progress(from+len(now), len(tests))
	}
	return m.end(), nil
}

// chosen returns n different ones of the prompts, chosen by seed, in their order; all where n is as many or more.
func chosen[T any](tests []T, n int, seed uint64) []T {
	if n >= len(tests) {
		return tests
	}
	order := make([]int, len(tests))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(data.Mix(seed, uint64(a)), data.Mix(seed, uint64(b)))
	})
	order = order[:n]
	slices.Sort(order)
	out := make([]T, n)
	for i, at := range order {
		out[i] = tests[at]
	}
	return out
}

var verdict = map[bool]string{true: "right", false: "wrong"}

// marking is a Score under way.
type marking struct {
	task  *Exact
	o     ScoreOptions
	score ExactScore
	asked int
	own   int
	marks []float64
}

// ask asks some prompts and marks the answers.
func (m *marking) ask(ctx context.Context, p Player, now []exactPrompt, closed []string) error {
	prompts := make([]string, len(now))
	for i := range now {
		prompts[i] = now[i].Prompt
	}
	answers, err := m.answers(p, prompts, closed)
	if err != nil {
		return err
	}
	for i, a := range answers {
		right := a.within && slices.Contains(now[i].Answers, a.text)
		if right {
			m.score.Exact++
		} else if len(m.score.Mistakes) < maxMistakes {
			m.score.Mistakes = append(m.score.Mistakes, Mistake{prompts[i], a.text, now[i].Answers})
		}
		if m.asked++; m.asked <= m.o.Keep && m.o.Kept != nil {
			m.o.Kept(Game{Result: verdict[right], Frames: []Frame{{Prompt: prompts[i], Move: a.text, Player: true}}})
		}
		if a.own {
			m.own++
			if right {
				m.score.Unconstrained++
			}
		}
		if m.o.Marker == nil {
			continue
		}
		mark, err := m.o.Marker.Mark(ctx, plain(prompts[i]), a.text)
		if err != nil {
			return err
		}
		m.marks = append(m.marks, mark)
	}
	return nil
}

// answer is one answer of a player.
type answer struct {
	text   string
	within bool // it has ended, and is of the set
	own    bool // it is what the player writes where nothing holds it
}

func (m *marking) answers(p Player, prompts, closed []string) ([]answer, error) {
	out := make([]answer, len(prompts))
	if closed != nil {
		legal := make([][]string, len(prompts))
		for i := range legal {
			legal[i] = closed
		}
		choices, _, err := ask(m.task.name, p, prompts, legal)
		for i, c := range choices {
			out[i] = answer{c.Answer, true, c.OwnLegal}
		}
		return out, err
	}
	w, ok := p.(Writer)
	if !ok {
		return nil, &PlayerError{Task: m.task.name, Reason: "it cannot write freely, and the set of answers is open"}
	}
	written, err := w.Write(prompts)
	if err != nil {
		return nil, fmt.Errorf("task: %s: player: %w", m.task.name, err)
	}
	if len(written) != len(prompts) {
		return nil, &PlayerError{Task: m.task.name, Reason: fmt.Sprintf("%d texts for %d prompts", len(written), len(prompts))}
	}
	for i, a := range written {
		out[i] = answer{a.Text, a.Ended, a.Ended}
	}
	return out, nil
}

func (m *marking) end() Score {
	s := Score{Decisions: m.score.Prompts, OwnLegal: share(m.own, m.score.Prompts), Seed: m.o.Seed}
	m.score.Outside = m.score.Prompts - m.own
	if m.o.Marker != nil {
		m.score.Marks = newMarks(m.o.Marker.Name(), m.marks)
	}
	s.Exact = &m.score
	return s
}
