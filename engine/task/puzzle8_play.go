package task

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Ways in which a model plays puzzle8, for ScoreOptions.Player. None of them searches, and none knows a distance that the
// model did not say.
const (
	// PlayerPolicy plays the move that the model answers. A policy that errs once can walk in a circle for ever.
	PlayerPolicy = "policy"
	// PlayerPolicyOnce does not enter a board twice: of the moves to boards where it has not been, it plays the one that the
	// model likes best. Where none is left the board counts as unsolved.
	PlayerPolicyOnce = "policy-without-repeats"
	// PlayerNearest asks the model how far each of the next boards is from the goal and goes to the nearest, the first of equal
	// ones: by the mean distance that a Rater holds to be likely. It needs FormatDistance.
	PlayerNearest = "nearest"
	// PlayerNearestOnce goes to the nearest of the boards where it has not been.
	PlayerNearestOnce = "nearest-without-repeats"
)

// Players lists the ways in which Score lets a model play.
func (t *Puzzle8) Players() []string {
	players := []string{PlayerPolicy, PlayerPolicyOnce}
	if t.options.Format == FormatDistance {
		players = append(players, PlayerNearest, PlayerNearestOnce)
	}
	return players
}

// walk8 is a board under way.
type walk8 struct {
	board board8
	least int             // moves that its start needs
	been  map[board8]bool // boards that were entered, nil where that does not matter
	kept  *Game           // nil where it is not kept
}

// open lists the moves that may be played, by their place in moves8.
func (w *walk8) open() (moves []int) {
	for m := range len(moves8) {
		if next, ok := w.board.play(m); ok && !w.been[next] {
			moves = append(moves, m)
		}
	}
	return moves
}

// play plays a move and enters the board.
func (w *walk8) play(m int) {
	w.kept.note(prompt8(w.board), true, moves8[m:m+1])
	w.board, _ = w.board.play(m)
	if w.been != nil {
		w.been[w.board] = true
	}
}

func (w *walk8) end(o ScoreOptions, result string) { w.kept.end(o, prompt8(w.board), true, result) }

// game8 is a score under way.
type game8 struct {
	t       *Puzzle8
	p       Player
	o       ScoreOptions
	nearest bool
	score   Score
	own     int
	ratios  []float64 // moves over the least number of moves, of solved boards
}

// Score gives p random boards, drawn uniformly from the reachable positions of
// o.Split but the goal, of Train from those that Positions leaves in it, and counts those it solves within o.MoveLimit moves (0 for
// DefaultMoveLimit).
func (t *Puzzle8) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(puzzle8Name, t.Players()...)
	if err != nil {
		return Score{}, err
	}
	if o.Opponent != "" {
		return Score{}, &OpponentError{Task: puzzle8Name, Opponent: o.Opponent}
	}
	if o.MoveLimit == 0 {
		o.MoveLimit = DefaultMoveLimit
	}
	if o.Split = cmp.Or(o.Split, All); o.Split != All && o.Split != Train && o.Split != Test {
		return Score{}, &SplitError{Split: o.Split}
	}
	once := o.Player == PlayerPolicyOnce || o.Player == PlayerNearestOnce
	d := solved8()
	start, err := t.starts(ctx, d, o.Split)
	if err != nil {
		return Score{}, err
	}
	active := make([]*walk8, o.Games)
	for i := range active {
		b := start(gameRNG(o.Seed, i))
		active[i] = &walk8{board: b, least: int(d.to[b.rank()]), kept: o.keep(i, true)}
		if once {
			active[i].been = map[board8]bool{b: true}
		}
	}
	g := &game8{t: t, p: p, o: o, nearest: o.Player == PlayerNearest || o.Player == PlayerNearestOnce,
		score: Score{Boards: o.Games, Split: o.Split, Player: o.Player, MoveLimit: o.MoveLimit, Seed: o.Seed}}
	for moves := 1; moves <= o.MoveLimit && len(active) > 0; moves++ {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		if active, err = g.round(active, moves); err != nil {
			return Score{}, err
		}
		o.Progress(g.score.Solved, o.Games)
	}
	for _, w := range active {
		w.end(o, "unsolved")
	}
	g.score.OwnLegal = share(g.own, g.score.Decisions)
	g.score.LengthRatio = median(g.ratios)
	o.Progress(o.Games, o.Games)
	return g.score, nil
}

// starts returns what draws a board of a split. What Positions leaves out was not trained on.
func (t *Puzzle8) starts(ctx context.Context, d *distances8, split Split) (func(rng *rand.Rand) board8, error) {
	if split != Train || t.options.Positions == 0 {
		return func(rng *rand.Rand) board8 {
			for {
				b := unrank8(int(d.reached[1+rng.IntN(len(d.reached)-1)]))
				if split == All || inTest(t.orbit(d, b)) == (split == Test) {
					return b
				}
			}
		}, nil
	}
	trained, err := t.Examples(ctx, Train)
	if err != nil {
		return nil, err
	}
	if len(trained) == 0 {
		return nil, &OptionError{Task: puzzle8Name, Option: "positions", Got: t.options.Positions, Want: "more: all of its boards are held out"}
	}
	boards := make([]board8, len(trained))
	for i := range trained {
		if boards[i], err = parse8(trained[i].Prompt); err != nil {
			return nil, err
		}
	}
	return func(rng *rand.Rand) board8 { return boards[rng.IntN(len(boards))] }, nil
}

// round plays one move on every board and returns those that are not done.
func (g *game8) round(active []*walk8, moves int) ([]*walk8, error) {
	active = slices.DeleteFunc(active, func(w *walk8) bool {
		stuck := len(w.open()) == 0
		if stuck {
			w.end(g.o, "unsolved")
		}
		return stuck
	})
	choose := g.policy
	if g.nearest {
		choose = g.nearestOf
	}
	chosen, err := choose(active)
	if err != nil {
		return nil, err
	}
	rest := active[:0]
	for i, w := range active {
		if w.play(chosen[i]); w.board == goal8 {
			g.score.Solved++
			w.end(g.o, "solved")
			g.ratios = append(g.ratios, float64(moves)/float64(w.least))
		} else {
			rest = append(rest, w)
		}
	}
	return rest, nil
}

// ask asks the player about boards; open lists the moves that may be answered for each.
func (g *game8) ask(boards []board8, open [][]int) ([]string, error) {
	prompts, legal := make([]string, len(boards)), make([][]string, len(boards))
	for i, b := range boards {
		prompts[i], legal[i] = prompt8(b), g.t.legal(open[i])
	}
	choices, own, err := ask(puzzle8Name, g.p, prompts, legal)
	if err != nil {
		return nil, err
	}
	g.own += own
	g.score.Decisions += len(choices)
	answers := make([]string, len(choices))
	for i, c := range choices {
		answers[i] = c.Answer
	}
	return answers, nil
}

func (g *game8) policy(active []*walk8) ([]int, error) {
	boards, open := make([]board8, len(active)), make([][]int, len(active))
	for i, w := range active {
		boards[i], open[i] = w.board, w.open()
	}
	answers, err := g.ask(boards, open)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(answers))
	for i, a := range answers {
		out[i] = strings.IndexByte(moves8, a[len(a)-1])
	}
	return out, nil
}

// nearestOf asks for the distances of all next boards. The goal needs no question.
func (g *game8) nearestOf(active []*walk8) ([]int, error) {
	type step struct{ walk, move int }
	var boards []board8
	var open [][]int
	var steps []step
	out, least := make([]int, len(active)), make([]float64, len(active))
	for i, w := range active {
		least[i] = math.Inf(1)
		for _, m := range w.open() {
			next, _ := w.board.play(m)
			if next == goal8 {
				out[i], least[i] = m, 0
				break
			}
			boards, steps = append(boards, next), append(steps, step{i, m})
			open = append(open, (&walk8{board: next}).open())
		}
	}
	far, err := g.distances(boards, open)
	if err != nil {
		return nil, err
	}
	for k, d := range far {
		if i := steps[k].walk; d < least[i] {
			out[i], least[i] = steps[k].move, d
		}
	}
	return out, nil
}

// distances asks the player how far boards are from the goal: the mean of what it holds to be likely, or its answer where it
// does not say that.
func (g *game8) distances(boards []board8, open [][]int) ([]float64, error) {
	out := make([]float64, len(boards))
	rater, ok := g.p.(Rater)
	if !ok {
		answers, err := g.ask(boards, open)
		for i, a := range answers {
			out[i] = float64(1 + slices.Index(left8, []rune(a)[0]))
		}
		return out, err
	}
	prompts, answers := make([]string, len(boards)), make([]string, len(left8))
	for i, b := range boards {
		prompts[i] = prompt8(b)
	}
	for i, r := range left8 {
		answers[i] = string(r)
	}
	shares, err := rater.Rate(prompts, answers)
	if err != nil {
		return nil, fmt.Errorf("task: %s: player: %w", puzzle8Name, err)
	}
	if len(shares) != len(prompts) {
		return nil, &PlayerError{Task: puzzle8Name, Reason: fmt.Sprintf("ratings of %d prompts for %d", len(shares), len(prompts))}
	}
	g.score.Decisions += len(prompts)
	g.own += len(prompts) // a distance is no move: no board has an illegal one
	for i, s := range shares {
		for d, share := range s {
			out[i] += share * float64(d+1)
		}
	}
	return out, nil
}

// legal lists the answers that say one of some moves.
func (t *Puzzle8) legal(moves []int) (out []string) {
	for _, m := range moves {
		if t.options.Format != FormatDistance {
			out = append(out, moves8[m:m+1])
			continue
		}
		for _, d := range left8 {
			out = append(out, string(d)+moves8[m:m+1])
		}
	}
	return out
}

// median is the middle one of some values, the lower one of two; 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
