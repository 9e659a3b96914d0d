package task

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// What a program makes of a Board alone is what the games are: prompts, wins and legal moves.
func TestBoards(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		three, four := playBoard(t, tictactoeName), playBoard(t, connect4Name)
		var b3 board3
		for b3.over() == ongoing {
			three.same(prompt3(b3))
			free := rules3{}.legal(b3)
			answer := free[r.IntN(len(free))]
			three.play(answer)
			b3 = rules3{}.play(b3, answer)
		}
		three.ended(b3.over())
		var b4 board4
		for b4.over() == ongoing {
			four.same(prompt4(b4))
			free := rules4{}.legal(b4)
			answer := free[r.IntN(len(free))]
			four.play(answer)
			b4 = rules4{}.play(b4, answer)
		}
		four.ended(b4.over())
	}
	puzzle, err := BoardOf(puzzle8Name, "")
	if err != nil {
		t.Fatal(err)
	}
	game := newPuzzle8(Options{Positions: 50, Seed: 1})
	examples, err := game.Examples(context.Background(), All)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range examples {
		b, err := parse8(x.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range puzzle.Cells {
			if i != 3*c.Row+c.Col || c.Chars[b[i]] != x.Prompt[i] {
				t.Fatalf("cell %d of %q holds tile %d, and is written as %q", i, x.Prompt, b[i], c.Chars)
			}
		}
	}
	for _, name := range Names() {
		var none *BoardError
		if _, err := BoardOf(name, ""); err != nil && !errors.As(err, &none) {
			t.Errorf("%s: %v", name, err)
		}
		var format *FormatError
		if _, err := BoardOf(name, "sideways"); !errors.As(err, &format) {
			t.Errorf("%s sideways: %v", name, err)
		}
	}
	var unknown *UnknownError
	if _, err := BoardOf("go", ""); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

// boardPlayer plays by a Board.
type boardPlayer struct {
	t      *testing.T
	b      Board
	values []int
	turn   int
}

func playBoard(t *testing.T, name string) *boardPlayer {
	b, err := BoardOf(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return &boardPlayer{t, b, make([]int, len(b.Cells)), 1}
}

func (p *boardPlayer) same(prompt string) {
	got := ""
	for i, c := range p.b.Cells {
		v := 0
		if p.values[i] != 0 {
			v = 2
			if p.values[i] == p.turn {
				v = 1
			}
		}
		got += c.Chars[v : v+1]
	}
	if got+"=" != prompt {
		p.t.Fatalf("%q, the game has %q", got+"=", prompt)
	}
	if p.wins() {
		p.t.Fatalf("%q is won, the game goes on", prompt)
	}
}

// play puts a stone on the first free cell that the answer means: those of a column come from the bottom.
func (p *boardPlayer) play(answer string) {
	i := slices.IndexFunc(p.b.Cells, func(c Cell) bool {
		return c.Chars[:1] == answer && p.values[slices.IndexFunc(p.b.Cells, func(d Cell) bool { return d == c })] == 0
	})
	p.values[i], p.turn = p.turn, 3-p.turn
}

func (p *boardPlayer) wins() bool {
	at := func(row, col int) int {
		i := slices.IndexFunc(p.b.Cells, func(c Cell) bool { return c.Row == row && c.Col == col })
		if i < 0 {
			return -1
		}
		return p.values[i]
	}
	for i, c := range p.b.Cells {
		for _, d := range [][2]int{{0, 1}, {1, 0}, {1, 1}, {1, -1}} {
			n := 0
			for n < p.b.Line && p.values[i] != 0 && at(c.Row+n*d[0], c.Col+n*d[1]) == p.values[i] {
				n++
			}
			if n == p.b.Line {
				return true
			}
		}
	}
	return false
}

func (p *boardPlayer) ended(how outcome) {
	if full := !slices.Contains(p.values, 0); p.wins() != (how == lost) || how == drawn && !full {
		p.t.Fatalf("%v: the game ends with %v", p.values, how)
	}
}
