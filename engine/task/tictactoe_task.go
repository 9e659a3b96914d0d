package task

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"

	"mito/engine/data"
)

// The characters of cell c: free, own stone, opponent's stone.
const (
	free3 = "012345678"
	own3  = "ABCDEFGHI"
	opp3  = "abcdefghi"

	promptEnd = '='
)

// Opponent names.
const (
	opponentRandom     = "random"
	opponentPerfect    = "perfect"
	opponentExhaustive = "exhaustive"
)

var solved3 = sync.OnceValue(solve3)

// TicTacToe is the task "tictactoe": all 4,520 undecided positions out of
// 5,478 reachable ones, with every move that wins soonest, else draws, else
// loses latest.
type TicTacToe struct {
	examples func() []labelled
}

func newTicTacToe(o Options) *TicTacToe {
	t := &TicTacToe{}
	t.examples = sync.OnceValue(func() []labelled {
		var out []labelled
		for _, b := range solved3().reachable {
			if b.over() == ongoing {
				ex := data.Example{Prompt: prompt3(b), Answers: best3(b)}
				out = append(out, labelled{Example: ex, orbit: uint64(b.canonical())})
			}
		}
		return sample(out, o.Positions, o.Seed)
	})
	return t
}

// Name returns "tictactoe".
func (*TicTacToe) Name() string { return tictactoeName }

// Alphabet returns the 28 characters of prompts and answers.
func (*TicTacToe) Alphabet() string { return sortedAlphabet(free3 + own3 + opp3 + string(promptEnd)) }

// Opponents returns random, perfect and exhaustive. The perfect opponent draws
// among equally good moves; exhaustive tries every reply in every position and
// so ignores ScoreOptions.Games.
func (*TicTacToe) Opponents() []string {
	return []string{opponentRandom, opponentPerfect, opponentExhaustive}
}

// Examples returns the labelled positions of a split, in the order of play.
func (t *TicTacToe) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	if err := ctx.Err(); err != nil {
		return nil, stopped(ctx, tictactoeName, err)
	}
	return selectSplit(t.examples(), split)
}

// Solve returns the best answers for a prompt.
func (t *TicTacToe) Solve(prompt string) ([]string, error) {
	b, err := parse3(prompt)
	if err != nil {
		return nil, err
	}
	return best3(b), nil
}

// Score plays against the opponent that o names.
func (t *TicTacToe) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(tictactoeName)
	if err != nil {
		return Score{}, err
	}
	var opponent chooser[board3]
	switch o.Opponent {
	case "", opponentRandom:
		o.Opponent = opponentRandom
		opponent = randomChooser[board3](rules3{})
	case opponentPerfect:
		opponent = func(b board3, rng *rand.Rand) string {
			best := best3(b)
			return best[rng.IntN(len(best))]
		}
	case opponentExhaustive:
		return playAll[board3](ctx, tictactoeName, rules3{}, p, o)
	default:
		return Score{}, &OpponentError{Task: tictactoeName, Opponent: o.Opponent, Known: t.Opponents()}
	}
	return playGames(ctx, tictactoeName, rules3{}, opponent, p, o)
}

type rules3 struct{}

func (rules3) start() board3          { return board3{} }
func (rules3) prompt(b board3) string { return prompt3(b) }
func (rules3) over(b board3) outcome  { return b.over() }
func (rules3) legal(b board3) []string {
	if b.over() != ongoing {
		return nil
	}
	return answers3(b.empty())
}
func (rules3) play(b board3, answer string) board3 { return b.play(int(answer[0] - '0')) }

func best3(b board3) []string {
	_, cells := solved3().best(b)
	return answers3(cells)
}

func answers3(cells uint16) []string {
	out := make([]string, 0, 9)
	for ; cells != 0; cells &= cells - 1 {
		c := bits.TrailingZeros16(cells)
		out = append(out, free3[c:c+1])
	}
	return out
}

func prompt3(b board3) string {
	var buf [10]byte
	for c := range 9 {
		switch {
		case b.own>>c&1 != 0:
			buf[c] = own3[c]
		case b.opp>>c&1 != 0:
			buf[c] = opp3[c]
		default:
			buf[c] = free3[c]
		}
	}
	buf[9] = promptEnd
	return string(buf[:])
}

func parse3(prompt string) (board3, error) {
	bad := func(format string, args ...any) (board3, error) {
		return board3{}, &PromptError{Task: tictactoeName, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	if len(prompt) != 10 || prompt[9] != promptEnd {
		return bad("want 9 cells and %q", promptEnd)
	}
	var b board3
	for c := range 9 {
		switch prompt[c] {
		case free3[c]:
		case own3[c]:
			b.own |= 1 << c
		case opp3[c]:
			b.opp |= 1 << c
		default:
			return bad("character %d is %q, want %q, %q or %q", c, prompt[c], free3[c], own3[c], opp3[c])
		}
	}
	if solved3().value[b.index()] == unreached3 {
		return bad("no game leads to this position")
	}
	if b.over() != ongoing {
		return bad("the game is over")
	}
	return b, nil
}

// Describe returns the prompt and answer format.
func (t *TicTacToe) Describe() string {
	b := board3{}.play(4).play(0).play(8) // the corner opposite a corner: a trap
	var s strings.Builder
	fmt.Fprintf(&s, `tictactoe: choose the move of the side to move.

Prompt: 10 characters: the 9 cells, row by row from the top left, then '='.
Cell c (0 to 8) is one of
    %s   free: the digit c
    %s   a stone of the side to move: letter c of A-I
    %s   a stone of the opponent: letter c of a-i
The board is always seen by the side to move, so there is no turn marker.

Answer: 1 character, the digit of the free cell to play.
Legal answers: the digits that occur in the prompt.

For example the first move, and the move after 4, 0 and 8 were played:
    prompt %s   best answers %s
    prompt %s   best answers %s

Best answers win soonest, else draw, else lose latest (solved exactly).
Positions: 5,478 reachable, 4,520 of them undecided and labelled.
Opponents: random (uniform over legal moves), perfect (uniform over best
moves), exhaustive (every reply in every position, from both seats).
`, free3, own3, opp3,
		prompt3(board3{}), strings.Join(best3(board3{}), " "), prompt3(b), strings.Join(best3(b), " "))
	return s.String()
}
