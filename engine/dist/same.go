package dist

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Fact is something that all ranks must have in common.
type Fact struct {
	Name  string `json:"name"`  // for people, such as "the corpus"
	Value string `json:"value"` // such as a hash
}

// DifferentError says in what ranks differ.
type DifferentError struct {
	Rank  int // the first that differs from rank 0
	Facts []string
}

func (e *DifferentError) Error() string {
	return fmt.Sprintf("dist: rank %d is not doing what rank 0 does: %s. Start all ranks with the same program, data and flags",
		e.Rank, strings.Join(e.Facts, "; "))
}

// Same compares what ranks must have in common, before the first step. Every rank gets the same error: a *DifferentError.
func Same(h *Hub, facts []Fact) error {
	mine, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	all, err := h.Exchange(mine)
	if err != nil {
		return err
	}
	lists := make([][]Fact, len(all))
	for rank, b := range all {
		if err := json.Unmarshal(b, &lists[rank]); err != nil {
			return fmt.Errorf("dist: rank %d: %w", rank, err)
		}
	}
	for rank, list := range lists {
		if d := differences(list, lists[0]); len(d) > 0 {
			return &DifferentError{Rank: rank, Facts: d}
		}
	}
	return nil
}

func differences(have, want []Fact) (list []string) {
	value := func(facts []Fact, name string) string {
		i := slices.IndexFunc(facts, func(f Fact) bool { return f.Name == name })
		if i < 0 {
			return "nothing"
		}
		return facts[i].Value
	}
	var names []string
	for _, f := range slices.Concat(want, have) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	for _, name := range names {
		if a, b := value(have, name), value(want, name); a != b {
			a, b = apart(a, b)
			list = append(list, fmt.Sprintf("%s is %.120s, on rank 0 %.120s", name, a, b))
		}
	}
	return list
}

// apart shortens long texts from the front to where they differ, with a little of what both say before that.
func apart(a, b string) (string, string) {
	const most, before = 120, 30 // runes
	x, y := []rune(a), []rune(b)
	if max(len(x), len(y)) <= most {
		return a, b
	}
	same := 0
	for same < min(len(x), len(y)) && x[same] == y[same] {
		same++
	}
	if same <= before {
		return a, b
	}
	return "…" + string(x[same-before:]), "…" + string(y[same-before:])
}
