package grammar

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Automaton is a grammar over tokens that has few enough states to be listed: what a device holds texts to. State 0 is before the first
// token.
type Automaton struct {
	From       []int32 // where each state's tokens begin in Tokens and To, and the end of all
	Tokens, To []int32 // tokens that may come, without the one that ends texts, by number; the states behind them
	Least      []int32 // by state: the fewest tokens that end the text, 0 where it may end; Never where none do
}

// Never is the Least of a state from which no text ends.
const Never = 1<<16 - 1

// ErrStates is returned for a grammar that has more states than are wanted, such as one that nests to any depth.
var ErrStates = errors.New("grammar: too many states for a list of them")

// Automaton lists the states of a grammar, at most so many. Errors: ErrStates.
func (m *Masks) Automaton(most int) (*Automaton, error) {
	most = min(most, maxStates)
	numbers, list := map[*State]int32{}, []*State{}
	number := func(s *State) int32 {
		n, ok := numbers[s]
		if !ok {
			n = int32(len(list))
			numbers[s], list = n, append(list, s)
		}
		return n
	}
	number(m.Start())
	a := &Automaton{}
	for i := 0; i < len(list); i++ {
		s := list[i]
		if s.tooMany || len(list) > most {
			return nil, fmt.Errorf("%w: more than %d", ErrStates, most)
		}
		m.fill(s)
		order := make([]int, len(s.ids))
		for k := range order {
			order[k] = k
		}
		slices.SortFunc(order, func(x, y int) int { return cmp.Compare(s.ids[x], s.ids[y]) })
		a.From = append(a.From, int32(len(a.Tokens)))
		for _, k := range order {
			a.Tokens, a.To = append(a.Tokens, s.ids[k]), append(a.To, number(s.to[k]))
		}
	}
	a.From = append(a.From, int32(len(a.Tokens)))
	a.measure(list)
	return a, nil
}

// measure finds Least, backwards from where texts may end.
func (a *Automaton) measure(list []*State) {
	a.Least = make([]int32, len(list))
	for i, s := range list {
		if !s.accepts {
			a.Least[i] = Never
		}
	}
	for changed := true; changed; {
		changed = false
		for i := len(list) - 1; i >= 0; i-- { // states behind a state mostly have larger numbers
			for _, to := range a.To[a.From[i]:a.From[i+1]] {
				if n := a.Least[to] + 1; n < a.Least[i] {
					a.Least[i], changed = n, true
				}
			}
		}
	}
}
