package task

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"mito/engine/data"
)

// DefaultMoveLimit is the number of moves a puzzle8 player has: three times what
// the hardest board needs, and some.
const DefaultMoveLimit = 100

// cells8 holds the 81 board characters: character 9·cell+tile stands for that
// tile on that cell. They are printable ASCII without the answers, '=' and
// what JSON must escape.
const cells8 = `!#$%&'()*` + `+,-./0123` + `456789:;<` + `>?@ABCEFG` + `HIJKMNOPQ` + `STVWXYZ[]` + "^_`abcdef" + `ghijklmno` + `pqrstuvwx`

// endgame8 is the number of moves within which FormatDistance holds no board out: 705 boards of 181,439.
const endgame8 = 10

var solved8 = sync.OnceValue(solve8)

// Puzzle8 is the task "puzzle8": all 181,440 reachable positions of the
// 8-puzzle but the goal, with every move that lies on a shortest solution.
type Puzzle8 struct {
	options  Options
	examples memo[[]labelled]
}

func newPuzzle8(o Options) *Puzzle8 { return &Puzzle8{options: o} }

func (t *Puzzle8) labelled(ctx context.Context) ([]labelled, error) {
	return t.examples.get(ctx, func(ctx context.Context) ([]labelled, error) {
		d := solved8()
		all := make([]labelled, len(d.reached)-1)
		if err := parallel(ctx, len(all), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				b := unrank8(int(d.reached[i+1]))
				all[i] = labelled{
					Example: data.Example{Prompt: prompt8(b), Answers: t.answers(d, b), Times: t.times(d, b)},
					orbit:   t.orbit(d, b),
				}
			}
		}); err != nil {
			return nil, err
		}
		return sample(all, t.options.Positions, t.options.Seed), nil
	})
}

// orbit is what decides the split of a board.
func (t *Puzzle8) orbit(d *distances8, b board8) uint64 {
	orbit := uint64(b.canonical())
	// Every solution ends among the few boards near the goal: in FormatDistance they are never held out.
	for t.options.Format == FormatDistance && d.to[b.rank()] <= endgame8 && inTest(orbit) {
		orbit = data.Mix(orbit)
	}
	return orbit
}

// Name returns "puzzle8".
func (*Puzzle8) Name() string { return puzzle8Name }

// answers are the best moves, behind the number of moves left where the options ask for it.
func (t *Puzzle8) answers(d *distances8, b board8) []string {
	best := d.best(b)
	if t.options.Format == FormatDistance {
		for i := range best {
			best[i] = string(left8[d.to[b.rank()]-1]) + best[i]
		}
	}
	return best
}

// times is how often training visits a board in FormatDistance: boards near the goal are few, but every solution ends
// among them, so that up to often8 visits make their levels larger.
func (t *Puzzle8) times(d *distances8, b board8) int {
	const level8, often8 = 4000, 64
	if t.options.Format != FormatDistance {
		return 1
	}
	return min(often8, max(1, level8/d.counts[d.to[b.rank()]]))
}

// left8 holds the characters for 1 to 31 moves left.
var left8 = []rune("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳㉑㉒㉓㉔㉕㉖㉗㉘㉙㉚㉛")

// Alphabet returns the 86 characters of prompts and answers, and the 31 of the
// moves left in FormatDistance.
func (t *Puzzle8) Alphabet() string {
	a := cells8 + moves8 + string(promptEnd)
	if t.options.Format == FormatDistance {
		a += string(left8)
	}
	return sortedAlphabet(a)
}

// Opponents returns nil: a puzzle has none.
func (*Puzzle8) Opponents() []string { return nil }

// Examples returns the labelled positions of a split, nearest to the goal
// first.
func (t *Puzzle8) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	all, err := t.labelled(ctx)
	if err != nil {
		return nil, stopped(ctx, puzzle8Name, err)
	}
	return selectSplit(all, split)
}

// Solve returns the moves on a shortest solution, as Examples writes them.
func (t *Puzzle8) Solve(prompt string) ([]string, error) {
	b, err := parse8(prompt)
	if err != nil {
		return nil, err
	}
	return t.answers(solved8(), b), nil
}

func prompt8(b board8) string {
	var buf [10]byte
	for c, tile := range b {
		buf[c] = cells8[9*c+int(tile)]
	}
	buf[9] = promptEnd
	return string(buf[:])
}

func parse8(prompt string) (board8, error) {
	bad := func(format string, args ...any) (board8, error) {
		return board8{}, &PromptError{Task: puzzle8Name, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	if len(prompt) != 10 || prompt[9] != promptEnd {
		return bad("want 9 cells and %q", promptEnd)
	}
	var b board8
	seen := 0
	for c := range b {
		tile := strings.IndexByte(cells8[9*c:9*c+9], prompt[c])
		if tile < 0 {
			return bad("character %d is %q, want one of %q", c, prompt[c], cells8[9*c:9*c+9])
		}
		b[c] = uint8(tile)
		seen |= 1 << tile
	}
	if seen != 1<<9-1 {
		return bad("a tile occurs twice")
	}
	if d := solved8().to[b.rank()]; d < 0 {
		return bad("the goal cannot be reached from here")
	} else if d == 0 {
		return bad("the puzzle is solved")
	}
	return b, nil
}

// Describe returns the prompt and answer format.
func (t *Puzzle8) Describe() string {
	b := board8{1, 2, 3, 4, 0, 6, 7, 5, 8}
	var s strings.Builder
	fmt.Fprintf(&s, `puzzle8: slide the tiles of a 3x3 board into order.

Cells are numbered 0 to 8, row by row from the top left; tile 0 is the gap.
The goal is 1 2 3 / 4 5 6 / 7 8 gap.

Prompt: 10 characters: the 9 cells in order, then '='.
Tile t on cell c is character t (0 to 8) of row c:
`)
	for c := range 9 {
		fmt.Fprintf(&s, "    cell %d   %s\n", c, cells8[9*c:9*c+9])
	}
	s.WriteString(t.answerText())
	fmt.Fprintf(&s, `
For example 1 2 3 / 4 gap 6 / 7 5 8:
    prompt %s   best answers %s

Best answers lie on a shortest solution (all 181,440 reachable positions are
solved exactly; the hardest needs 31 moves).
Score: random boards solved within a move limit (%d unless told otherwise), by
the players %s.
`, prompt8(b), strings.Join(t.answers(solved8(), b), " "), DefaultMoveLimit, strings.Join(t.Players(), ", "))
	if t.options.Format == "" {
		s.WriteString("In the format \"distance\" the number of moves left comes before the move.\n")
	}
	return s.String()
}

// answerText describes the answers.
func (t *Puzzle8) answerText() string {
	const moves = `where the gap moves: U up, D down, L left, R right (the
tile there slides the other way).
Legal answers: the moves that keep the gap on the board`
	if t.options.Format != FormatDistance {
		return "\nAnswer: 1 character, " + moves + ".\n"
	}
	return fmt.Sprintf(`
Answer: 2 characters. The first is the least number of moves to the goal, 1 to 31:
    %s
The second is %s, after any
number.
`, string(left8), moves)
}
