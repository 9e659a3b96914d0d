package task

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"

	"mito/engine/data"
)

// Sizes and depths of othello's full set, and their limits.
const (
	DefaultPositions6 = 200_000
	DefaultDepth6     = 4

	maxPositions6 = 5_000_000
	maxDepth6     = 10
	openings6     = 9 // a game opens with 0 to openings6-1 random moves
)

// The characters of cell c: free, own disc, opponent's disc. Free cells are written as the answer that plays there.
var (
	free6 = []rune("0123456789" + "abcdefghijklmnopqrstuvwxyz")
	own6  = letters6(0x400)
	opp6  = letters6(0x430)
)

const pass6 = "-"

func letters6(first rune) (out []rune) {
	for c := range rune(cells6) {
		out = append(out, first+c)
	}
	return out
}

// Othello is the task "othello", on 6 by 6 cells: positions from seeded games of a bounded searcher with random slips, in all
// eight orientations, labelled by that searcher.
type Othello struct {
	options  Options // none of them zero
	examples memo[[]labelled]
}

func newOthello(o Options) (*Othello, error) {
	o, err := o.searched(othelloName, limits{DefaultPositions6, DefaultDepth6, maxPositions6, maxDepth6})
	if err != nil {
		return nil, err
	}
	return &Othello{options: o}, nil
}

// Name returns "othello".
func (*Othello) Name() string { return othelloName }

// Alphabet returns the 110 characters of prompts and answers.
func (*Othello) Alphabet() string {
	return sortedAlphabet(string(free6) + string(own6) + string(opp6) + pass6 + string(promptEnd))
}

// Opponents returns random and depth-N, N being the depth of the labels: a searcher that draws among its best moves. Score takes
// any depth-N up to depth-10.
func (t *Othello) Opponents() []string {
	return []string{opponentRandom, depthPrefix + strconv.Itoa(t.options.Depth)}
}

// Examples returns the labelled positions of a split in the order of the games they come from, generating them on first use.
func (t *Othello) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	all, err := t.examples.get(ctx, t.generate)
	if err != nil {
		return nil, stopped(ctx, othelloName, err)
	}
	return selectSplit(all, split)
}

// generate plays seeded games until enough distinct positions are labelled, each entered in all orientations, whose labels
// cost nothing. Games are entered in their order, so the result depends on the options alone.
func (t *Othello) generate(ctx context.Context) (out []labelled, err error) {
	n := t.options.Positions
	seen := make(map[board6]bool, n)
	for first := 0; len(out) < n; first += round4 {
		before := len(out)
		var games [round4][]visit6
		if err := parallel(ctx, round4, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				games[i] = game6(ctx, t.options.Depth, gameRNG(t.options.Seed, first+i))
			}
		}); err != nil {
			return nil, err
		}
		for _, game := range games {
			for _, v := range game {
				orbit := v.board.canonical()
				for s := range symmetries6 {
					b := v.board.image(s)
					if seen[b] || len(out) == n {
						continue
					}
					seen[b] = true
					out = append(out, labelled{Example: data.Example{Prompt: prompt6(b), Answers: answers6(image6(v.best, s))}, orbit: orbit})
				}
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("task: othello: games stopped reaching new positions after %d of %d", before, n)
		}
	}
	return out, nil
}

// visit6 is a position of a generated game and its best moves.
type visit6 struct {
	board board6
	best  uint64
}

// game6 plays one game and returns the positions after its opening, and those of the whole game in which the side to move must pass.
func game6(ctx context.Context, depth int, rng *rand.Rand) (visits []visit6) {
	b, opening := start6, rng.IntN(openings6)
	slip := [2]float64{slips4[rng.IntN(len(slips4))], slips4[rng.IntN(len(slips4))]}
	for ply := 0; b.over() == ongoing && ctx.Err() == nil; ply++ {
		moves := b.moves()
		if moves == 0 {
			visits = append(visits, visit6{board: b})
			b = b.passed()
			continue
		}
		if ply >= opening {
			best := best6(b, depth)
			visits = append(visits, visit6{b, best})
			if rng.Float64() >= slip[ply%2] {
				moves = best
			}
		}
		b = b.place(nth6(moves, rng.IntN(bits.OnesCount64(moves))))
	}
	return visits
}

// nth6 is the n-th cell of a set.
func nth6(cells uint64, n int) int {
	for range n {
		cells &= cells - 1
	}
	return bits.TrailingZeros64(cells)
}

// Solve returns the best answers that a search of the task's depth finds.
func (t *Othello) Solve(prompt string) ([]string, error) {
	b, err := parse6(prompt)
	if err != nil {
		return nil, err
	}
	return answers6(best6(b, t.options.Depth)), nil
}

// Score plays against the opponent that o names.
func (t *Othello) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	opponent, o, err := searchOpponent(othelloName, maxDepth6, rules6{}, o, func(b board6, depth int) []string {
		return answers6(best6(b, depth))
	})
	if err != nil {
		return Score{}, err
	}
	return playGames(ctx, othelloName, rules6{}, opponent, p, o)
}

type rules6 struct{}

func (rules6) start() board6          { return start6 }
func (rules6) prompt(b board6) string { return prompt6(b) }
func (rules6) over(b board6) outcome  { return b.over() }
func (rules6) legal(b board6) []string {
	if b.over() != ongoing {
		return nil
	}
	return answers6(b.moves())
}
func (rules6) play(b board6, answer string) board6 {
	for c, r := range free6 {
		if answer == string(r) {
			return b.place(c)
		}
	}
	return b.passed()
}

// answers6 writes cells; none means to pass.
func answers6(cells uint64) []string {
	if cells == 0 {
		return []string{pass6}
	}
	var out []string
	for ; cells != 0; cells &= cells - 1 {
		out = append(out, string(free6[bits.TrailingZeros64(cells)]))
	}
	return out
}

func prompt6(b board6) string {
	var s strings.Builder
	for c := range cells6 {
		switch {
		case b.own>>c&1 != 0:
			s.WriteRune(own6[c])
		case b.opp>>c&1 != 0:
			s.WriteRune(opp6[c])
		default:
			s.WriteRune(free6[c])
		}
	}
	s.WriteByte(promptEnd)
	return s.String()
}

func parse6(prompt string) (board6, error) {
	bad := func(format string, args ...any) (board6, error) {
		return board6{}, &PromptError{Task: othelloName, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	text := []rune(prompt)
	if len(text) != cells6+1 || text[cells6] != promptEnd {
		return bad("want %d cells and %q", cells6, promptEnd)
	}
	var b board6
	for c := range cells6 {
		switch text[c] {
		case free6[c]:
		case own6[c]:
			b.own |= 1 << c
		case opp6[c]:
			b.opp |= 1 << c
		default:
			return bad("character %d is %q, want %q, %q or %q", c, text[c], free6[c], own6[c], opp6[c])
		}
	}
	if centre := start6.own | start6.opp; centre&^(b.own|b.opp) != 0 {
		return bad("a cell of the centre is free")
	}
	if b.over() != ongoing {
		return bad("the game is over")
	}
	return b, nil
}

// Describe returns the prompt and answer format.
func (t *Othello) Describe() string {
	var s strings.Builder
	fmt.Fprintf(&s, `othello: choose the move of the side to move, on 6 by 6 cells.

A disc is placed where it encloses discs of the opponent in a straight line,
which are turned over. Who cannot move passes; where neither can, more discs win.

Prompt: 37 characters: the 36 cells row by row from the top left, then '='.
Cell c (0 to 35) is character c of one of
    free                      %s
    disc of the side to move  %s
    disc of the opponent      %s
The board is always seen by the side to move, so there is no turn marker.

Answer: 1 character, that of the free cell to play, or '-' to pass.
Legal answers: the cells where discs are turned over; '-' only where there is none.

For example the first move:
    prompt %s

Best answers come from a search of %d plies, to the end of the game from %d free
cells on.
Opponents: random (uniform over legal moves) and depth-N, a search of N plies
(1 to %d) that draws among its best moves.
`, string(free6), string(own6), string(opp6), prompt6(start6), t.options.Depth, endgame6, maxDepth6)
	return s.String()
}
