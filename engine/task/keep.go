package task

import (
	"strings"
	"unicode/utf8"
)

// Game is one game or board as it was played.
type Game struct {
	First  bool // the player moved first; of a board always
	Frames []Frame
	Result string // one of won, drawn, lost, solved and unsolved, of a text right and wrong
}

// Frame is a position of a game and what was done in it.
type Frame struct {
	Prompt string // the position, seen by the side to move
	Player bool   // the player is to move, not the opponent
	Move   string // "" in the last position
}

// Cells draws a prompt of a task on its board, row by row from the top left: '+' is a stone of the side to move, '-' one of the other,
// a digit a tile, a blank a free cell. ok is false where the task has no board or the text is no prompt of it.
func Cells(task, prompt string) (cells string, cols int, ok bool) {
	switch {
	case task == tictactoeName && len(prompt) == len(free3)+1:
		return cellsOf(len(free3), func(c int) byte { return stone(prompt[c], own3[c], opp3[c]) }), 3, true
	case task == connect4Name && strings.HasPrefix(prompt, string(movesStart)): // of any length, that of the other format too
		return cellsOfMoves4(strings.TrimPrefix(prompt, string(movesStart))), cols4, true
	case task == connect4Name && len(prompt) == cells4+1:
		return cellsOf(cells4, func(i int) byte {
			c := i%cols4*rows4 + rows4 - 1 - i/cols4 // prompts go column by column from the bottom
			return stone(prompt[c], own4[c], opp4[c])
		}), cols4, true
	case task == othelloName && utf8.RuneCountInString(prompt) == cells6+1:
		text := []rune(prompt)
		return cellsOf(cells6, func(c int) byte {
			switch text[c] {
			case own6[c]:
				return '+'
			case opp6[c]:
				return '-'
			}
			return ' '
		}), side6, true
	case task == puzzle8Name && len(prompt) == 10:
		return cellsOf(9, func(c int) byte {
			tile := max(0, strings.IndexByte(cells8[9*c:9*c+9], prompt[c]))
			return " 12345678"[tile]
		}), 3, true
	}
	return "", 0, false
}

func cellsOf(n int, at func(int) byte) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = at(i)
	}
	return string(out)
}

// cellsOfMoves4 draws stones that are listed in the order of play.
func cellsOfMoves4(stones string) string {
	out := []byte(strings.Repeat(" ", cells4))
	for i := range len(stones) {
		if c := strings.IndexByte([2]string{own4, opp4}[i%2], stones[i]); c >= 0 {
			// The side to move is the one that begins where the number of stones is even.
			out[(rows4-1-c%rows4)*cols4+c/rows4] = "+-"[(i+len(stones))%2]
		}
	}
	return string(out)
}

func stone(c, own, other byte) byte {
	switch c {
	case own:
		return '+'
	case other:
		return '-'
	}
	return ' '
}

// keep begins the record of game i where it is one of those that are kept.
func (o *ScoreOptions) keep(i int, first bool) *Game {
	if i >= o.Keep || o.Kept == nil {
		return nil
	}
	return &Game{First: first}
}

// note adds a frame to the record; g may be nil.
func (g *Game) note(prompt string, player bool, move string) {
	if g != nil {
		g.Frames = append(g.Frames, Frame{prompt, player, move})
	}
}

// end adds the last position and the result to the record, and hands it on; g may be nil.
func (g *Game) end(o ScoreOptions, prompt string, player bool, result string) {
	if g != nil {
		g.note(prompt, player, "")
		g.Result = result
		o.Kept(*g)
	}
}

// word names the result of one game.
func (r Record) word() string {
	switch {
	case r.Win > 0:
		return "won"
	case r.Draw > 0:
		return "drawn"
	}
	return "lost"
}
