package task

import (
	"cmp"
	"errors"
	"strings"
	"testing"
)

// 181,440 positions, a diameter of 31 reached by two positions: Reinefeld,
// Complete Solution of the Eight-Puzzle, IJCAI 1993.
func TestPuzzle8Counts(t *testing.T) {
	d := solve8()
	if len(d.reached) != 181_440 {
		t.Errorf("%d positions reached, want 181440", len(d.reached))
	}
	hardest := 0
	for _, r := range d.reached {
		if d.to[r] == 31 {
			hardest++
		}
	}
	if most := d.to[d.reached[len(d.reached)-1]]; most != 31 || hardest != 2 {
		t.Errorf("the hardest %d positions need %d moves, want 2 and 31", hardest, most)
	}
}

// Every position has a neighbour one move nearer to the goal and none more than
// one move off, which makes the table the true distance by induction.
func TestPuzzle8Distances(t *testing.T) {
	d := solve8()
	for _, r := range d.reached[1:] {
		b := unrank8(int(r))
		if b.rank() != int(r) {
			t.Fatalf("rank %d unranks to %v of rank %d", r, b, b.rank())
		}
		nearer := 0
		for m := range len(moves8) {
			next, ok := b.play(m)
			if !ok {
				continue
			}
			switch d.to[next.rank()] - d.to[r] {
			case -1:
				nearer++
			case 1:
			default:
				t.Fatalf("%v at distance %d has a neighbour at %d", b, d.to[r], d.to[next.rank()])
			}
		}
		if nearer == 0 || nearer != len(d.best(b)) {
			t.Fatalf("%v has %d nearer neighbours and %d answers", b, nearer, len(d.best(b)))
		}
		twin := b.transposed()
		if twin.transposed() != b || d.to[twin.rank()] != d.to[r] || twin.canonical() != b.canonical() {
			t.Fatalf("%v and its twin %v disagree", b, twin)
		}
	}
}

func TestPuzzle8PromptRoundTrip(t *testing.T) {
	d := solve8()
	for _, r := range d.reached[1:] {
		b := unrank8(int(r))
		if got, err := parse8(prompt8(b)); err != nil || got != b {
			t.Fatalf("%v: parsed %v, %v", b, got, err)
		}
	}
}

func TestPuzzle8SolverSolvesAll(t *testing.T) {
	task := newPuzzle8(Options{})
	s, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Games: 500, Seed: 3, MoveLimit: 31})
	if err != nil {
		t.Fatal(err)
	}
	if s.Solved != 500 || s.Boards != 500 || s.OwnLegal != 1 {
		t.Errorf("solver: %v", s)
	}
	base, err := task.Score(t.Context(), RandomPlayer(1), ScoreOptions{Games: 500, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	// A random walk of 62 moves ends up on a board some 22 moves away about
	// never: 5% is far above chance and far below any skill.
	if base.Solved > 25 || base.MoveLimit != DefaultMoveLimit {
		t.Errorf("random moves: %v", base)
	}
}

// A board counts as solved within the limit exactly if its distance is not above it, and a player is asked for no more
// moves than that.
func TestPuzzle8MoveLimit(t *testing.T) {
	task := newPuzzle8(Options{})
	const games, seed = 300, 5
	d := solved8()
	for _, limit := range []int{1, 15, 21, 22, 31} {
		want, moves := 0, 0
		for i := range games {
			far := int(d.to[d.reached[1+gameRNG(seed, i).IntN(len(d.reached)-1)]])
			if far <= limit {
				want++
			}
			moves += min(far, limit)
		}
		s, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Games: games, Seed: seed, MoveLimit: limit})
		if err != nil || s.Solved != want || s.Decisions != moves || s.MoveLimit != limit {
			t.Errorf("limit %d: solved %d by %d moves (%v), want %d by %d", limit, s.Solved, s.Decisions, err, want, moves)
		}
	}
	turns := &backAndForth{}
	s, err := task.Score(t.Context(), turns, ScoreOptions{Games: 3, Seed: seed})
	if err != nil || s.Solved != 0 || turns.calls != DefaultMoveLimit {
		t.Errorf("asked %d times, %+v, %v; want %d times", turns.calls, s, err, DefaultMoveLimit)
	}
}

// Score begins with boards of the split that it is asked for, and says which.
func TestPuzzle8ScoreSplit(t *testing.T) {
	for _, format := range []string{"", FormatDistance} {
		task := newPuzzle8(Options{Format: format})
		held := map[string]bool{}
		for _, ex := range mustExamples(t, task, Test) {
			held[ex.Prompt] = true
		}
		for _, split := range []Split{"", All, Train, Test} {
			began := map[bool]int{}
			s, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Games: 200, Seed: 2, Split: split, Keep: 200, Kept: func(g Game) { began[held[g.Frames[0].Prompt]]++ }})
			if err != nil || s.Solved != 200 || s.Split != cmp.Or(split, All) {
				t.Fatalf("%q: %+v, %v", split, s, err)
			}
			if mixed := split == "" || split == All; (began[true] > 0) != (mixed || split == Test) || (began[false] > 0) != (mixed || split == Train) {
				t.Errorf("%q of format %q: %d boards held out, %d not", split, format, began[true], began[false])
			}
		}
		var unknown *SplitError
		if _, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Split: "mine"}); !errors.As(err, &unknown) {
			t.Errorf("%v, want that the split is not known", err)
		}
	}
}

// Boards that were trained on are those that Positions leaves; where it leaves none that is said.
func TestPuzzle8ScoreTrained(t *testing.T) {
	task := newPuzzle8(Options{Positions: 40, Seed: 3})
	trained := map[string]bool{}
	for _, ex := range mustExamples(t, task, Train) {
		trained[ex.Prompt] = true
	}
	began := map[string]bool{}
	_, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Games: 300, Seed: 2, Split: Train, Keep: 300, Kept: func(g Game) { began[g.Frames[0].Prompt] = true }})
	if err != nil || len(began) != len(trained) {
		t.Errorf("300 games begin with %d boards of %d (%v)", len(began), len(trained), err)
	}
	for prompt := range began {
		if !trained[prompt] {
			t.Errorf("%q was not trained on", prompt)
		}
	}
	all, err := newPuzzle8(Options{}).labelled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(200) {
		if !inTest(sample(all, 1, seed)[0].orbit) {
			continue
		}
		task := newPuzzle8(Options{Positions: 1, Seed: seed})
		var none *OptionError
		if _, err := task.Score(t.Context(), SolverPlayer(task), ScoreOptions{Split: Train}); !errors.As(err, &none) || none.Option != "positions" {
			t.Errorf("%v, want that no board is trained on", err)
		}
		return
	}
	t.Fatal("every seed leaves a board to train on: the test tests nothing")
}

// backAndForth moves the gap to and fro, so that it solves nothing.
type backAndForth struct{ calls int }

func (p *backAndForth) Choose(_ []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(legal))
	for i, moves := range legal {
		want := "UD"
		if p.calls%2 == 1 {
			want = "DU"
		}
		for _, m := range moves { // up where that is possible, then down again; below the top row the other way about
			if strings.Contains(want, m) && (len(out[i].Answer) == 0 || m == want[:1]) {
				out[i].Answer = m
			}
		}
	}
	p.calls++
	return out, nil
}
