package task

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
)

// movesStart begins a prompt that lists the stones in the order of play.
const movesStart = '▶'

// played4 is a position of connect4 with the game that led to it.
type played4 struct {
	board4
	order [cells4]uint8 // cells in the order of play, cell 6·column+row
}

// cellAt4 numbers a cell, of its bit.
func cellAt4(cell uint64) int {
	bit := bits.TrailingZeros64(cell)
	return bit/stride4*rows4 + bit%stride4
}

// drop plays a cell of playable.
func (p played4) drop(cell uint64) played4 {
	p.order[p.stones()] = uint8(cellAt4(cell))
	p.board4 = p.board4.drop(cell)
	return p
}

// mirrored is the mirror image of the game.
func (p played4) mirrored() played4 {
	for i, c := range p.order[:p.stones()] {
		p.order[i] = uint8((cols4-1-int(c)/rows4)*rows4 + int(c)%rows4)
	}
	p.board4 = p.board4.mirrored()
	return p
}

// moves is the prompt in the format "moves".
func (p played4) moves() string {
	var s strings.Builder
	s.WriteRune(movesStart)
	for i, c := range p.order[:p.stones()] {
		s.WriteByte([2]string{own4, opp4}[i%2][c])
	}
	return s.String()
}

// parseMoves4 reads a prompt in the format "moves".
func parseMoves4(prompt string) (played4, error) {
	bad := func(format string, args ...any) (played4, error) {
		return played4{}, &PromptError{Task: connect4Name, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	stones, ok := strings.CutPrefix(prompt, string(movesStart))
	if !ok {
		return bad("want %q at its beginning", movesStart)
	}
	var p played4
	for i, s := range []byte(stones) {
		c := strings.IndexByte([2]string{own4, opp4}[i%2], s)
		if c < 0 {
			return bad("stone %d is %q, want one of the %s player's", i+1, s, [2]string{"first", "second"}[i%2])
		}
		cell := uint64(1) << (c/rows4*stride4 + c%rows4)
		if p.over() != ongoing {
			return bad("the game is over before stone %d", i+1)
		}
		if cell&p.playable() == 0 {
			return bad("stone %d, %q, is not on the lowest free cell of its column", i+1, s)
		}
		p = p.drop(cell)
	}
	if p.over() != ongoing {
		return bad("the game is over")
	}
	return p, nil
}

// rulesMoves4 is connect4 with prompts in the format "moves".
type rulesMoves4 struct{}

func (rulesMoves4) start() played4           { return played4{} }
func (rulesMoves4) prompt(p played4) string  { return p.moves() }
func (rulesMoves4) over(p played4) outcome   { return p.board4.over() }
func (rulesMoves4) legal(p played4) []string { return rules4{}.legal(p.board4) }
func (rulesMoves4) play(p played4, answer string) played4 {
	return p.drop(p.playable() & column4(int(answer[0]-'1')))
}

// score plays against an opponent in the format of the task.
func (t *Connect4) score(ctx context.Context, opponent chooser[board4], p Player, o ScoreOptions) (Score, error) {
	if t.options.Format != FormatMoves {
		return playGames(ctx, connect4Name, rules4{}, opponent, p, o)
	}
	replies := func(p played4, rng *rand.Rand) string { return opponent(p.board4, rng) }
	return playGames(ctx, connect4Name, rulesMoves4{}, replies, p, o)
}

// prompt writes a position in the format of the task.
func (t *Connect4) prompt(p played4) string {
	if t.options.Format == FormatMoves {
		return p.moves()
	}
	return prompt4(p.board4)
}

// parse reads a prompt in the format of the task.
func (t *Connect4) parse(prompt string) (board4, error) {
	if t.options.Format == FormatMoves {
		p, err := parseMoves4(prompt)
		return p.board4, err
	}
	return parse4(prompt)
}

// Longest is the number of characters of the longest prompt.
func (t *Connect4) Longest() int {
	if t.options.Format == FormatMoves {
		return cells4 // the start and all stones but the last
	}
	return cells4 + 1
}

// Joined says that prompts of a game continue one another.
func (t *Connect4) Joined() bool { return t.options.Format == FormatMoves }
