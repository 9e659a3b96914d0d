package task

import (
	"math/bits"
	"slices"
	"testing"

	"mito/engine/data"
)

func mustExamples(t testing.TB, task Task, split Split) []data.Example {
	t.Helper()
	out, err := task.Examples(t.Context(), split)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The counts are textbook values: 5,478 positions, 958 of them final (626 won
// by the first player, 316 by the second, 16 drawn), 765 up to symmetry.
func TestTicTacToeCounts(t *testing.T) {
	s := solve3()
	var live, firstWon, secondWon, draws int
	orbits := map[int]bool{}
	for _, b := range s.reachable {
		orbits[b.canonical()] = true
		switch b.over() {
		case ongoing:
			live++
		case drawn:
			draws++
		case lost:
			if bits.OnesCount16(b.own|b.opp)%2 == 1 {
				firstWon++
			} else {
				secondWon++
			}
		}
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"reachable", len(s.reachable), 5478},
		{"undecided", live, 4520},
		{"won by the first player", firstWon, 626},
		{"won by the second player", secondWon, 316},
		{"drawn", draws, 16},
		{"orbits", len(orbits), 765},
		{"value of the game", int(s.value[board3{}.index()]), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

// minimax3 solves a board of cells 'x', 'o' and ' ' afresh, sharing nothing
// with the solver: the value for the side to move as solution3 defines it.
func minimax3(cells *[9]byte, me, other byte, stones int) int {
	best := -100
	for c := range cells {
		if cells[c] != ' ' {
			continue
		}
		cells[c] = me
		v := 0
		switch {
		case naiveWin3(cells, me):
			v = 10 - (stones + 1)
		case stones+1 < 9:
			v = -minimax3(cells, other, me, stones+1)
		}
		cells[c] = ' '
		best = max(best, v)
	}
	return best
}

func naiveWin3(b *[9]byte, s byte) bool {
	for i := range 3 {
		if b[3*i] == s && b[3*i+1] == s && b[3*i+2] == s || b[i] == s && b[i+3] == s && b[i+6] == s {
			return true
		}
	}
	return b[4] == s && (b[0] == s && b[8] == s || b[2] == s && b[6] == s)
}

func TestTicTacToeAgainstMinimax(t *testing.T) {
	task := newTicTacToe(Options{})
	for _, ex := range mustExamples(t, task, All) {
		var cells [9]byte
		stones := 0
		for c := range cells {
			cells[c] = ' '
			switch ch := ex.Prompt[c]; {
			case ch >= 'A' && ch <= 'I':
				cells[c] = 'x'
				stones++
			case ch >= 'a' && ch <= 'i':
				cells[c] = 'o'
				stones++
			}
		}
		want := minimax3(&cells, 'x', 'o', stones)
		var best []string
		for c := range cells {
			if cells[c] != ' ' {
				continue
			}
			cells[c] = 'x'
			v := 0
			if naiveWin3(&cells, 'x') {
				v = 10 - (stones + 1)
			} else if stones < 8 {
				v = -minimax3(&cells, 'o', 'x', stones+1)
			}
			if v == want {
				best = append(best, string(rune('0'+c)))
			}
			cells[c] = ' '
		}
		if !slices.Equal(best, ex.Answers) {
			t.Fatalf("%s: answers %v, minimax %v", ex.Prompt, ex.Answers, best)
		}
	}
}

func TestTicTacToeSymmetries(t *testing.T) {
	s := solve3()
	for _, b := range s.reachable {
		images := map[board3]bool{}
		for i := range symmetries3 {
			m := b.transform(i)
			images[m] = true
			if s.value[m.index()] != s.value[b.index()] {
				t.Fatalf("image %d of %v has value %d, want %d", i, b, s.value[m.index()], s.value[b.index()])
			}
			if m.canonical() != b.canonical() {
				t.Fatalf("image %d of %v has another canonical index", i, b)
			}
		}
		if 8%len(images) != 0 {
			t.Fatalf("%v has %d images: the transformations are no group", b, len(images))
		}
	}
	if n := len(func() map[[9]int]bool {
		m := map[[9]int]bool{}
		for _, p := range symmetries3 {
			m[p] = true
		}
		return m
	}()); n != 8 {
		t.Errorf("%d distinct symmetries, want 8", n)
	}
}

func TestTicTacToePromptRoundTrip(t *testing.T) {
	for _, b := range solve3().reachable {
		got, err := parse3(prompt3(b))
		if b.over() != ongoing {
			if err == nil {
				t.Fatalf("%s: a finished game was accepted", prompt3(b))
			}
			continue
		}
		if err != nil || got != b {
			t.Fatalf("%s: parsed %v, %v; want %v", prompt3(b), got, err, b)
		}
	}
}
