package task

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"

	"mito/engine/data"
)

// Sizes and depths of connect4's full set, and the limits of both.
const (
	DefaultPositions = 200_000
	DefaultDepth     = 8

	maxPositions4 = 5_000_000
	maxDepth4     = 16
)

// The characters of a prompt. Cell 6·column+row, rows from the bottom, is
// written as the column's answer if free, else as the stone's own character.
// All are printable ASCII without what JSON must escape.
const (
	free4 = "1234567"
	own4  = "ABCDEF" + "GHIJKL" + "MNOPQR" + "STUVWX" + "YZ!#$%" + "&'()*+" + ",-./:;"
	opp4  = "abcdef" + "ghijkl" + "mnopqr" + "stuvwx" + "yz<>?@" + "[]^_`{" + "|}~089"
)

// Connect4 is the task "connect4": positions from seeded games of a bounded
// searcher with random slips, labelled by that searcher.
type Connect4 struct {
	options  Options // none of them zero
	examples memo[generated4]
}

func newConnect4(o Options) (*Connect4, error) {
	o, err := o.searched(connect4Name, limits{DefaultPositions, DefaultDepth, maxPositions4, maxDepth4})
	if err != nil {
		return nil, err
	}
	return &Connect4{options: o}, nil
}

func (t *Connect4) generated(ctx context.Context) (generated4, error) {
	g, err := t.examples.get(ctx, func(ctx context.Context) (generated4, error) { return generate4(ctx, t.options, t.prompt) })
	return g, stopped(ctx, connect4Name, err)
}

// Name returns "connect4".
func (*Connect4) Name() string { return connect4Name }

// Alphabet returns the 92 characters of prompts and answers.
func (t *Connect4) Alphabet() string {
	if t.options.Format == FormatMoves {
		return sortedAlphabet(free4 + own4 + opp4 + string(movesStart))
	}
	return sortedAlphabet(free4 + own4 + opp4 + string(promptEnd))
}

// Opponents returns random and depth-N, N being the depth of the labels: a
// searcher that draws among its best moves. Score takes any depth-N up to
// depth-16. None is perfect: connect4 is not solved here.
func (t *Connect4) Opponents() []string {
	return []string{opponentRandom, depthPrefix + strconv.Itoa(t.options.Depth)}
}

// Examples returns the labelled positions of a split in the order of the games
// they come from, generating them on first use.
func (t *Connect4) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	g, err := t.generated(ctx)
	if err != nil {
		return nil, err
	}
	return selectSplit(g.examples, split)
}

// ExactShare returns the share of labels that hold for perfect play to the end
// of the game, over all examples.
func (t *Connect4) ExactShare(ctx context.Context) (float64, error) {
	g, err := t.generated(ctx)
	if err != nil {
		return 0, err
	}
	return share(g.exact, len(g.examples)), nil
}

// Solve returns the best answers that a search of the task's depth finds.
func (t *Connect4) Solve(prompt string) ([]string, error) {
	b, err := t.parse(prompt)
	if err != nil {
		return nil, err
	}
	s := searchers4.Get().(*search4).until(context.Background())
	defer searchers4.Put(s)
	return answers4(s.analyse(b, t.options.Depth).best), nil
}

// searchers4 keeps search tables between calls; what a table holds never
// changes a result.
var searchers4 = sync.Pool{New: func() any { return new(search4) }}

// Score plays against the opponent that o names.
func (t *Connect4) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	opponent, o, err := searchOpponent(connect4Name, maxDepth4, rules4{}, o, func(b board4, depth int) []string {
		s := searchers4.Get().(*search4).until(ctx)
		defer searchers4.Put(s)
		return answers4(s.analyse(b, depth).best)
	})
	if err != nil {
		return Score{}, err
	}
	return t.score(ctx, opponent, p, o)
}

type rules4 struct{}

func (rules4) start() board4          { return board4{} }
func (rules4) prompt(b board4) string { return prompt4(b) }
func (rules4) over(b board4) outcome  { return b.over() }
func (rules4) legal(b board4) []string {
	if b.over() != ongoing {
		return nil
	}
	return answers4(b.playable())
}
func (rules4) play(b board4, answer string) board4 {
	return b.drop(b.playable() & column4(int(answer[0]-'1')))
}

func answers4(cells uint64) []string {
	out := make([]string, 0, cols4)
	for ; cells != 0; cells &= cells - 1 {
		c := bits.TrailingZeros64(cells) / stride4
		out = append(out, free4[c:c+1])
	}
	return out
}

func prompt4(b board4) string {
	var buf [cells4 + 1]byte
	for i := range cells4 {
		c, bit := i/rows4, uint64(1)<<(i/rows4*stride4+i%rows4)
		switch {
		case b.all&bit == 0:
			buf[i] = free4[c]
		case b.own&bit != 0:
			buf[i] = own4[i]
		default:
			buf[i] = opp4[i]
		}
	}
	buf[cells4] = promptEnd
	return string(buf[:])
}

func parse4(prompt string) (board4, error) {
	bad := func(format string, args ...any) (board4, error) {
		return board4{}, &PromptError{Task: connect4Name, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	if len(prompt) != cells4+1 || prompt[cells4] != promptEnd {
		return bad("want %d cells and %q", cells4, promptEnd)
	}
	var b board4
	for i := range cells4 {
		c, bit := i/rows4, uint64(1)<<(i/rows4*stride4+i%rows4)
		switch prompt[i] {
		case free4[c]:
			continue
		case own4[i]:
			b.own |= bit
		case opp4[i]:
		default:
			return bad("character %d is %q, want %q, %q or %q", i, prompt[i], free4[c], own4[i], opp4[i])
		}
		if i%rows4 > 0 && b.all&(bit>>1) == 0 {
			return bad("the stone at character %d hangs in the air", i)
		}
		b.all |= bit
	}
	if d := b.stones() - 2*bits.OnesCount64(b.own); d != 0 && d != 1 {
		return bad("the opponent has %d stones more than the side to move, want 0 or 1", d)
	}
	if hasFour(b.own) {
		return bad("the side to move has four in a row already")
	}
	if b.over() != ongoing {
		return bad("the game is over")
	}
	return b, nil
}

// Describe returns the prompt and answer format.
func (t *Connect4) Describe() string {
	var p played4
	for _, c := range []int{3, 3, 2} {
		p = p.drop(p.playable() & column4(c))
	}
	var s strings.Builder
	s.WriteString("connect4: choose the column of the side to move (7 columns, 6 rows, four in a row win).\n")
	tables := [2]string{"mine", "theirs"}
	if t.options.Format == FormatMoves {
		s.WriteString(movesText4)
		tables = [2]string{"first", "second"}
	} else {
		s.WriteString(boardText4)
	}
	for c := range cols4 {
		fmt.Fprintf(&s, "    column %d, bottom up   %s %s   %s %s\n", c+1,
			tables[0], own4[c*rows4:(c+1)*rows4], tables[1], opp4[c*rows4:(c+1)*rows4])
	}
	fmt.Fprintf(&s, `
Answer: 1 character, the digit of the column to drop a stone in, 1 to 7.
Legal answers: the digits of the columns that are not full.

For example the first move, and the move after columns 4, 4 and 3:
    prompt %s
    prompt %s

Best answers come from a search of %d plies, to the end of the game from %d free
cells on. They are exact where the search proves a win (soonest first) or a loss
(latest first) or reaches the end; elsewhere they are its judgement.
Opponents: random (uniform over legal moves) and depth-N, a search of N plies
(1 to %d) that draws among its best moves.
`, t.prompt(played4{}), t.prompt(p), t.options.Depth, endgame4, maxDepth4)
	if t.options.Format == "" {
		s.WriteString("In the format \"moves\" a prompt lists the stones in the order of play instead.\n")
	}
	return s.String()
}

const boardText4 = `
Prompt: 43 characters: the 42 cells column by column from the left, each column
from the bottom up, then '='. A cell is one of
    free                       the digit of its column, 1 to 7
    stone of the side to move  its character of the first table
    stone of the opponent      its character of the second table
The board is always seen by the side to move, so there is no turn marker.

`

const movesText4 = `
Prompt: '▶', then the stones in the order of play, each by the character of its
cell: those of the player who began from the first table, those of the other
player from the second, in turns. The prompts of a game continue one another.

`
