package data

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestItems(t *testing.T) {
	items, repeated := Items("emma\n\nolivia\r\n emma\nemma\n   \nava")
	want := []Item{{1, "emma"}, {3, "olivia"}, {4, " emma"}, {7, "ava"}}
	if !slices.Equal(items, want) || repeated != 1 {
		t.Errorf("%v, %d repeated", items, repeated)
	}
	if items, _ := Items(" \n"); items != nil {
		t.Errorf("of nothing: %v", items)
	}
}

func TestSplitItems(t *testing.T) {
	var items []Item
	for i := range 100 {
		items = append(items, Item{i + 1, fmt.Sprint("item ", i)})
	}
	train, test, err := SplitItems(items, 0.25, 1)
	if err != nil || len(train) != 75 || len(test) != 25 {
		t.Fatalf("%d and %d, %v", len(train), len(test), err)
	}
	all := slices.Concat(train, test)
	slices.SortFunc(all, func(a, b Item) int { return a.Number - b.Number })
	if !slices.Equal(all, items) {
		t.Error("items were lost, or are on both sides")
	}
	if slices.IsSortedFunc(train, func(a, b Item) int { return a.Number - b.Number }) {
		t.Error("nothing is shuffled")
	}
	if _, again, _ := SplitItems(items, 0.25, 1); !slices.Equal(again, test) {
		t.Error("the split is not determined")
	}
	if _, other, _ := SplitItems(items, 0.25, 2); slices.Equal(other, test) {
		t.Error("the seed does not decide")
	}
	for _, share := range []float64{0.001, 0.999} {
		if a, b, err := SplitItems(items[:2], share, 1); err != nil || len(a) != 1 || len(b) != 1 {
			t.Errorf("%v of two: %v %v %v", share, a, b, err)
		}
	}
	var short *TooShortError
	if _, _, err := SplitItems(items[:1], 0.5, 1); !errors.As(err, &short) {
		t.Error(err)
	}
	var arg *ArgError
	if _, _, err := SplitItems(items, 1, 1); !errors.As(err, &arg) {
		t.Error(err)
	}
}
