package data

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
)

// Item is a line of a list.
type Item struct {
	Number int // of the first line that has it, from 1
	Text   string
}

// Items are the different lines of a text, in order, without those that hold nothing but spaces. A carriage return at the end
// of a line is no part of it. repeated is the number of lines that an earlier one equals.
func Items(text string) (items []Item, repeated int) {
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		switch {
		case strings.TrimSpace(line) == "":
		case seen[line]:
			repeated++
		default:
			seen[line] = true
			items = append(items, Item{number, line})
		}
	}
	return items, repeated
}

// SplitItems shuffles items by a hash of the seed and each text, and holds out the first share of them, rounded up; both parts have
// one at least. Errors: *ArgError for a share that is not between 0 and 1, *TooShortError for fewer than two items.
func SplitItems(items []Item, heldOut float64, seed uint64) (train, test []Item, err error) {
	if !(heldOut > 0 && heldOut < 1) {
		return nil, nil, &ArgError{"held-out fraction", fmt.Sprintf("%v is not between 0 and 1", heldOut)}
	}
	if len(items) < 2 {
		return nil, nil, &TooShortError{What: "list", Unit: "different lines", Have: len(items), Need: 2}
	}
	shuffled := slices.Clone(items)
	key := func(i Item) uint64 {
		h := fnv.New64a()
		h.Write([]byte(i.Text))
		return Mix(seed, h.Sum64())
	}
	slices.SortFunc(shuffled, func(a, b Item) int { return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(a.Text, b.Text)) })
	n := min(len(items)-1, int(math.Ceil(heldOut*float64(len(items)))))
	return shuffled[n:], shuffled[:n], nil
}
