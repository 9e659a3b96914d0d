package task

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"mito/engine/data"
)

// DefaultMoveLimit is the number of moves a puzzle8 player has: twice what the
// hardest board needs.
const DefaultMoveLimit = 62

// cells8 holds the 81 board characters: character 9·cell+tile stands for that
// tile on that cell. They are printable ASCII without the answers, '=' and
// what JSON must escape.
const cells8 = `!#$%&'()*` + `+,-./0123` + `456789:;<` + `>?@ABCEFG` + `HIJKMNOPQ` + `STVWXYZ[]` + "^_`abcdef" + `ghijklmno` + `pqrstuvwx`

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
					Example: data.Example{Prompt: prompt8(b), Answers: d.best(b)},
					orbit:   uint64(b.canonical()),
				}
			}
		}); err != nil {
			return nil, err
		}
		return sample(all, t.options.Positions, t.options.Seed), nil
	})
}

// Name returns "puzzle8".
func (*Puzzle8) Name() string { return puzzle8Name }

// Alphabet returns the 86 characters of prompts and answers.
func (*Puzzle8) Alphabet() string { return sortedAlphabet(cells8 + moves8 + string(promptEnd)) }

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

// Solve returns the moves on a shortest solution.
func (t *Puzzle8) Solve(prompt string) ([]string, error) {
	b, err := parse8(prompt)
	if err != nil {
		return nil, err
	}
	return solved8().best(b), nil
}

// Score gives p random boards, drawn uniformly from all reachable positions
// but the goal, and counts those it solves within o.MoveLimit moves (0 for
// DefaultMoveLimit).
func (t *Puzzle8) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(puzzle8Name)
	if err != nil {
		return Score{}, err
	}
	if o.Opponent != "" {
		return Score{}, &OpponentError{Task: puzzle8Name, Opponent: o.Opponent}
	}
	if o.MoveLimit == 0 {
		o.MoveLimit = DefaultMoveLimit
	}
	reached := solved8().reached
	active := make([]solving8, o.Games)
	for i := range active {
		active[i] = solving8{unrank8(int(reached[1+gameRNG(o.Seed, i).IntN(len(reached)-1)])), o.keep(i, true)}
	}
	s := Score{Boards: o.Games, MoveLimit: o.MoveLimit, Seed: o.Seed}
	own := 0
	for range o.MoveLimit {
		if len(active) == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		prompts, legal := make([]string, len(active)), make([][]string, len(active))
		for i, b := range active {
			prompts[i], legal[i] = prompt8(b.board8), legal8(b.board8)
		}
		choices, n, err := ask(puzzle8Name, p, prompts, legal)
		if err != nil {
			return Score{}, err
		}
		own += n
		s.Decisions += len(choices)
		rest := active[:0]
		for i, b := range active {
			b.kept.note(prompts[i], true, choices[i].Answer)
			b.board8, _ = b.play(strings.Index(moves8, choices[i].Answer))
			if b.board8 == goal8 {
				s.Solved++
				b.kept.end(o, prompt8(b.board8), true, "solved")
			} else {
				rest = append(rest, b)
			}
		}
		active = rest
		o.Progress(s.Solved, s.Boards)
	}
	for _, b := range active {
		b.kept.end(o, prompt8(b.board8), true, "unsolved")
	}
	s.OwnLegal = share(own, s.Decisions)
	o.Progress(s.Boards, s.Boards)
	return s, nil
}

// solving8 is a board under way.
type solving8 struct {
	board8
	kept *Game // nil where it is not kept
}

func legal8(b board8) []string {
	g := b.gap()
	out := make([]string, 0, len(moves8))
	for m := range len(moves8) {
		if step8[g][m] >= 0 {
			out = append(out, moves8[m:m+1])
		}
	}
	return out
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
	fmt.Fprintf(&s, `
Answer: 1 character, where the gap moves: U up, D down, L left, R right (the
tile there slides the other way).
Legal answers: the moves that keep the gap on the board.

For example 1 2 3 / 4 gap 6 / 7 5 8:
    prompt %s   best answers %s

Best answers lie on a shortest solution (all 181,440 reachable positions are
solved exactly; the hardest needs 31 moves).
Score: random boards solved within a move limit (%d unless told otherwise).
`, prompt8(b), strings.Join(solved8().best(b), " "), DefaultMoveLimit)
	return s.String()
}
