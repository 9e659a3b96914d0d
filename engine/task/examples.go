package task

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"mito/engine/data"
)

// ExampleOptions says how lines become a task.
type ExampleOptions struct {
	HeldOut float64 // share of the prompts that is never trained on, more than 0 and less than 1
	Seed    uint64  // of which ones they are
}

// A set of answers is closed where it has at most maxClosed texts, and each of them answers two prompts or more on average.
const maxClosed = 1024

// NewExamples makes lines of examples into a task. A prompt ends with '=', which is added where it is missing. Lines with the
// same prompt become one, with the right answers of all. The prompts are ordered by a hash of the seed and their words, without
// regard to case and the number of spaces, and the first HeldOut of them, rounded up, are the test part; prompts that differ in nothing else
// are on the same side. Notes tells repeated lines, prompts with different answers, and whether the set of answers is closed,
// which the training part alone decides. Errors: *FewError, a share that leaves no part.
func NewExamples(name string, lines []data.Line, o ExampleOptions) (*Exact, error) {
	if !(o.HeldOut > 0 && o.HeldOut < 1) {
		return nil, fmt.Errorf("task: %s: the held-out share is %v, want more than 0 and less than 1", name, o.HeldOut)
	}
	t := &Exact{name: name, about: fmt.Sprintf("%s: answer texts as a file of examples does.", name)}
	prompts := t.merge(lines)
	if err := splitPrompts(name, prompts, o); err != nil {
		return nil, err
	}
	closed := closedSet(prompts)
	t.tellAnswers(prompts, closed)
	s := newExactSet(prompts, closed)
	t.set = func() *exactSet { return s }
	return t, nil
}

// marked is a prompt as the model reads it, plain as people write it.
func marked(prompt string) string {
	if strings.HasSuffix(prompt, string(promptEnd)) {
		return prompt
	}
	return prompt + string(promptEnd)
}

func plain(prompt string) string { return strings.TrimSuffix(prompt, string(promptEnd)) }

// merge makes one prompt of the lines that have the same, and notes what it found.
func (t *Exact) merge(lines []data.Line) []exactPrompt {
	var out []exactPrompt
	at := map[string]int{}
	repeated, several := tally{}, tally{}
	for _, l := range lines {
		prompt := marked(l.Prompt)
		i, known := at[prompt]
		if !known {
			i = len(out)
			at[prompt] = i
			out = append(out, exactPrompt{Example: data.Example{Prompt: prompt}, line: l.Number})
		}
		p, news := &out[i], 0
		for _, a := range l.Answers {
			if !slices.Contains(p.Answers, a) {
				p.Answers = append(p.Answers, a)
				news++
			}
		}
		if known && news == 0 {
			repeated.add("line %d repeats line %d", l.Number, p.line)
		} else if known {
			several.add("line %d answers %q otherwise than line %d", l.Number, l.Prompt, p.line)
		}
	}
	t.notes = append(t.notes, repeated.note("repeated lines count once")...)
	t.notes = append(t.notes, several.note("all answers of a prompt count as right; if they contradict each other, mend the file")...)
	return out
}

// tally counts findings and shows the first.
type tally struct {
	n     int
	first string
}

func (c *tally) add(format string, args ...any) {
	if c.n++; c.n == 1 {
		c.first = fmt.Sprintf(format, args...)
	}
}

func (c *tally) note(means string) []string {
	switch c.n {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("%s: %s.", c.first, means)}
	}
	return []string{fmt.Sprintf("%s, and there are %d such lines: %s.", c.first, c.n, means)}
}

// splitPrompts chooses the test part.
func splitPrompts(name string, prompts []exactPrompt, o ExampleOptions) error {
	groups := map[uint64][]int{}
	var order []uint64
	for i, p := range prompts {
		key := wordsHash(plain(p.Prompt))
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], i)
	}
	if len(order) < 2 {
		return &FewError{Name: name, Have: len(order)}
	}
	slices.SortFunc(order, func(a, b uint64) int {
		return cmp.Or(cmp.Compare(data.Mix(o.Seed, splitSalt, a), data.Mix(o.Seed, splitSalt, b)), cmp.Compare(a, b))
	})
	n := min(len(order)-1, int(math.Ceil(o.HeldOut*float64(len(order)))))
	for _, key := range order[:n] {
		for _, i := range groups[key] {
			prompts[i].test = true
		}
	}
	return nil
}

// wordsHash hashes the words of a prompt without regard to case and spaces.
func wordsHash(prompt string) uint64 {
	h := fnv.New64a()
	for _, word := range strings.Fields(strings.ToLower(prompt)) {
		h.Write([]byte(word))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// closedSet returns the answers of the training part where they are few, nil where they are not.
func closedSet(prompts []exactPrompt) []string {
	seen, n := map[string]bool{}, 0
	for _, p := range prompts {
		if p.test {
			continue
		}
		n++
		for _, a := range p.Answers {
			seen[a] = true
		}
	}
	if len(seen) > maxClosed || 2*len(seen) > n {
		return nil
	}
	out := make([]string, 0, len(seen))
	for a := range seen {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

func (t *Exact) tellAnswers(prompts []exactPrompt, closed []string) {
	if closed == nil {
		t.notes = append(t.notes, "The answers of the training part are many: the set is open, and models write freely.")
		return
	}
	without := 0
	for _, p := range prompts {
		if p.test && !slices.ContainsFunc(p.Answers, func(a string) bool { _, ok := slices.BinarySearch(closed, a); return ok }) {
			without++
		}
	}
	note := fmt.Sprintf("The training part has %d different answers: the set is closed, and models are held to it.", len(closed))
	if without > 0 {
		note += fmt.Sprintf(" %d held-out prompts have no right answer in it, and count as wrong.", without)
	}
	t.notes = append(t.notes, note)
}

// FewError reports examples that cannot be split.
type FewError struct {
	Name string
	Have int
}

func (e *FewError) Error() string {
	return fmt.Sprintf("%s has prompts that differ in their words: %d, where 2 are needed at least, one to train on and one to tell how good the model is: give more examples",
		e.Name, e.Have)
}
