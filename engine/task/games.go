package task

import (
	"context"
	"math/rand/v2"

	"mito/engine/data"
)

type outcome int

const (
	ongoing outcome = iota
	drawn
	lost // the side to move has lost: its opponent just completed a line
	won  // the side to move has won: its opponent made the last move and yet has less
)

// rules is a two-player game whose positions P are seen by the side to move.
type rules[P comparable] interface {
	start() P
	prompt(P) string
	legal(P) []string // in a fixed order, empty only when the game is over
	play(P, string) P
	over(P) outcome
}

// chooser picks an opponent's move. It is called from several goroutines.
type chooser[P comparable] func(p P, rng *rand.Rand) string

func randomChooser[P comparable](r rules[P]) chooser[P] {
	return func(p P, rng *rand.Rand) string {
		moves := r.legal(p)
		return moves[rng.IntN(len(moves))]
	}
}

// gameRNG is the generator of game i: independent of every other game, so
// batching and threads cannot change a game.
func gameRNG(seed uint64, i int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, data.Mix(uint64(i))))
}

type match[P comparable] struct {
	pos        P
	rng        *rand.Rand
	first      bool // the player moves first
	playerTurn bool
	kept       *Game // nil where the game is not kept
}

// record is the result of a finished match for the player.
func (m *match[P]) record(o outcome) Record {
	switch {
	case o == drawn:
		return Record{Games: 1, Draw: 1}
	case m.playerTurn == (o == lost):
		return Record{Games: 1, Loss: 1}
	default:
		return Record{Games: 1, Win: 1}
	}
}

// searchOpponent is the opponent that o names, for a game of which best lists the best answers of a search: random, or one of those of
// its depth. The options come back with what they left out.
func searchOpponent[P comparable](name string, most int, r rules[P], o ScoreOptions, best func(pos P, depth int) []string) (chooser[P], ScoreOptions, error) {
	o, err := o.withDefaults(name)
	if err != nil {
		return nil, o, err
	}
	depth, err := opponentDepth(name, o.Opponent, most)
	if err != nil {
		return nil, o, err
	}
	if depth == 0 {
		o.Opponent = opponentRandom
		return randomChooser(r), o, nil
	}
	return func(pos P, rng *rand.Rand) string {
		list := best(pos, depth)
		return list[rng.IntN(len(list))]
	}, o, nil
}

// playGames plays o.Games games, all in flight at once, alternating seats.
func playGames[P comparable](ctx context.Context, name string, r rules[P], opponent chooser[P], p Player, o ScoreOptions) (Score, error) {
	s := Score{Opponent: o.Opponent, Seed: o.Seed}
	matches := make([]match[P], o.Games)
	active := make([]*match[P], o.Games)
	for i := range matches {
		matches[i] = match[P]{pos: r.start(), rng: gameRNG(o.Seed, i), first: i%2 == 0, playerTurn: i%2 == 0, kept: o.keep(i, i%2 == 0)}
		active[i] = &matches[i]
	}
	own := 0
	for len(active) > 0 {
		if err := parallel(ctx, len(active), func(lo, hi int) {
			for _, m := range active[lo:hi] {
				if ctx.Err() != nil {
					return
				}
				if !m.playerTurn {
					move := opponent(m.pos, m.rng)
					m.kept.note(r.prompt(m.pos), false, move)
					m.pos = r.play(m.pos, move)
					m.playerTurn = true
				}
			}
		}); err != nil {
			return Score{}, err
		}
		active = settle(&s, r, active, o)
		o.Progress(s.Games, o.Games)
		if len(active) == 0 {
			break
		}
		prompts, legal := questions(r, active)
		choices, n, err := ask(name, p, prompts, legal)
		if err != nil {
			return Score{}, err
		}
		own += n
		s.Decisions += len(choices)
		for i, m := range active {
			m.kept.note(prompts[i], true, choices[i].Answer)
			m.pos = r.play(m.pos, choices[i].Answer)
			m.playerTurn = false
		}
		active = settle(&s, r, active, o)
	}
	o.Progress(s.Games, o.Games)
	s.OwnLegal = share(own, s.Decisions)
	return s, nil
}

// settle enters the finished matches of active into s and returns the others.
func settle[P comparable](s *Score, r rules[P], active []*match[P], opts ScoreOptions) []*match[P] {
	rest := active[:0]
	for _, m := range active {
		if o := r.over(m.pos); o != ongoing {
			result := m.record(o)
			s.enter(result, m.first)
			m.kept.end(opts, r.prompt(m.pos), m.playerTurn, result.word())
		} else {
			rest = append(rest, m)
		}
	}
	return rest
}

// enter adds finished games, all from the same seat.
func (s *Score) enter(r Record, first bool) {
	s.Record.add(r)
	if first {
		s.First.add(r)
	} else {
		s.Second.add(r)
	}
}

func questions[P comparable](r rules[P], active []*match[P]) (prompts []string, legal [][]string) {
	prompts = make([]string, len(active))
	legal = make([][]string, len(active))
	for i, m := range active {
		prompts[i], legal[i] = r.prompt(m.pos), r.legal(m.pos)
	}
	return prompts, legal
}

func share(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// playAll plays every game that some opponent could make of it: the player
// moves as it chooses, the opponent tries every legal reply, from both seats.
// Each position is asked once, so for a player that answers a prompt always
// alike a score without losses is a proof that it cannot be beaten. Games
// counts distinct move sequences, Decisions distinct positions and seats.
func playAll[P comparable](ctx context.Context, name string, r rules[P], p Player, o ScoreOptions) (Score, error) {
	s := Score{Opponent: o.Opponent, Exhaustive: true, Seed: o.Seed}
	own := 0
	for _, first := range []bool{true, false} {
		level := newFrontier[P]()
		level.add(r.start(), 1)
		for playerTurn := first; len(level.order) > 0; playerTurn = !playerTurn {
			if err := ctx.Err(); err != nil {
				return Score{}, err
			}
			var open []*match[P]
			for _, pos := range level.order {
				m := &match[P]{pos: pos, first: first, playerTurn: playerTurn}
				if out := r.over(pos); out != ongoing {
					s.enter(m.record(out).times(level.lines[pos]), first)
				} else {
					open = append(open, m)
				}
			}
			next := newFrontier[P]()
			if playerTurn && len(open) > 0 {
				prompts, legal := questions(r, open)
				choices, n, err := ask(name, p, prompts, legal)
				if err != nil {
					return Score{}, err
				}
				own += n
				s.Decisions += len(choices)
				for i, m := range open {
					next.add(r.play(m.pos, choices[i].Answer), level.lines[m.pos])
				}
			} else {
				for _, m := range open {
					for _, move := range r.legal(m.pos) {
						next.add(r.play(m.pos, move), level.lines[m.pos])
					}
				}
			}
			level = next
		}
	}
	s.OwnLegal = share(own, s.Decisions)
	o.Progress(s.Games, s.Games)
	return s, nil
}

func (r Record) times(n int) Record {
	return Record{Games: r.Games * n, Win: r.Win * n, Draw: r.Draw * n, Loss: r.Loss * n}
}

// frontier is a set of positions in the order of their discovery, with the
// number of move sequences that lead to each.
type frontier[P comparable] struct {
	order []P
	lines map[P]int
}

func newFrontier[P comparable]() *frontier[P] { return &frontier[P]{lines: map[P]int{}} }

func (f *frontier[P]) add(p P, lines int) {
	if _, seen := f.lines[p]; !seen {
		f.order = append(f.order, p)
	}
	f.lines[p] += lines
}
