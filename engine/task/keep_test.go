package task

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// What is kept of games is what was played: a stone more or one tile moved in every frame, the counts of the score, and the same
// score as without.
func TestKeptGames(t *testing.T) {
	for _, c := range []struct {
		task Task
		p    Player
		want int // games kept of 4
	}{
		{newTicTacToe(Options{}), RandomPlayer(3), 4},
		{must(newConnect4(Options{Positions: 10, Depth: 1})), RandomPlayer(3), 4},
		{must(newConnect4(Options{Positions: 10, Depth: 1, Format: FormatMoves})), RandomPlayer(3), 4},
		{newPuzzle8(Options{}), SolverPlayer(newPuzzle8(Options{})), 4},
		{newPuzzle8(Options{}), RandomPlayer(5), 4}, // solves none
	} {
		o := ScoreOptions{Games: 4, Seed: 2, MoveLimit: 40}
		var kept []Game
		o.Keep, o.Kept = c.want, func(g Game) { kept = append(kept, g) }
		s := mustScore(t, c.task, c.p, o)
		if len(kept) != c.want {
			t.Fatalf("%s: %d games kept", c.task.Name(), len(kept))
		}
		var r Record
		solved := 0
		for _, g := range kept {
			checkGame(t, c.task.Name(), g)
			switch g.Result {
			case "won":
				r.Win++
			case "drawn":
				r.Draw++
			case "lost":
				r.Loss++
			case "solved":
				solved++
			}
		}
		if r.Win != s.Win || r.Draw != s.Draw || r.Loss != s.Loss || solved != s.Solved {
			t.Errorf("%s: kept %+v and %d solved, the score is %v", c.task.Name(), r, solved, s)
		}
	}
	b := start6
	if cells, cols, ok := Cells("othello", prompt6(b)); !ok || cols != side6 || cells != strings.Repeat(" ", 14)+"-+"+"    "+"+-"+strings.Repeat(" ", 14) {
		t.Errorf("othello begins as %q in %d columns", cells, cols)
	}
	rng := rand.New(rand.NewPCG(4, 3))
	longest := 0
	for range 500 {
		for _, p := range randomGame4(rng) {
			cells, _, ok := Cells(connect4Name, p.moves())
			if want, _, _ := Cells(connect4Name, prompt4(p.board4)); !ok || cells != want {
				t.Fatalf("%d stones are drawn %q, want %q", p.stones(), cells, want)
			}
			longest = max(longest, p.stones())
		}
	}
	if longest < 40 { // whose prompt is as long as that of a board
		t.Errorf("the longest game had %d stones", longest)
	}
	n := 0
	with := mustScore(t, newTicTacToe(Options{}), RandomPlayer(3), ScoreOptions{Games: 6, Seed: 2, Keep: 1, Kept: func(Game) { n++ }})
	without := mustScore(t, newTicTacToe(Options{}), RandomPlayer(3), ScoreOptions{Games: 6, Seed: 2})
	if n != 1 || with != without {
		t.Errorf("kept %d games; keeping changes the score: %v, %v", n, with, without)
	}
	if _, _, ok := Cells("tictactoe", "123"); ok {
		t.Error("drew what is no prompt")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func checkGame(t *testing.T, name string, g Game) {
	t.Helper()
	last := len(g.Frames) - 1
	before := ""
	for i, f := range g.Frames {
		cells, cols, ok := Cells(name, f.Prompt)
		if !ok || len(cells)%cols != 0 || (f.Move == "") != (i == last) {
			t.Fatalf("%s: frame %d %+v is drawn %q in %d columns", name, i, f, cells, cols)
		}
		if name == puzzle8Name {
			if !f.Player || !g.First {
				t.Errorf("%s: somebody else moves", name)
			}
		} else if f.Player != (i%2 == 0 == g.First) {
			t.Errorf("%s: frame %d is not of the side whose turn it is", name, i)
		}
		if i > 0 {
			changed := 0
			for c := range cells {
				if strings.ContainsRune("+-", rune(cells[c])) != strings.ContainsRune("+-", rune(before[c])) || name == puzzle8Name && cells[c] != before[c] {
					changed++
				}
			}
			want := 1
			if name == puzzle8Name {
				want = 2
			}
			if changed != want {
				t.Errorf("%s: %d cells change from %q to %q", name, changed, before, cells)
			}
			if name == tictactoeName && before[g.Frames[i-1].Move[0]-'0'] != ' ' {
				t.Errorf("%s: move %q on a stone of %q", name, g.Frames[i-1].Move, before)
			}
		}
		before = cells
	}
	if g.Result == "solved" && before != "12345678 " {
		t.Errorf("%s: solved, and the last board is %q", name, before)
	}
}
