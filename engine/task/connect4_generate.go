package task

import (
	"context"
	"fmt"
	"math/rand/v2"

	"mito/engine/data"
)

type generated4 struct {
	examples []labelled
	exact    int // examples whose label is exact
}

// slips4 are the shares of moves that a side of a generated game draws at
// random instead of playing best: a strong side, a careless one and a random
// player. A side draws its share at the start of the game.
var slips4 = [3]float64{0.05, 0.3, 1}

const (
	openings4 = 9  // a game opens with 0 to openings4-1 random moves
	round4    = 64 // games played between two looks at the count
)

// visit4 is a position of a generated game and its verdict.
type visit4 struct {
	game played4
	verdict4
}

// generate4 plays seeded games until o.Positions distinct prompts are
// labelled. Each position is entered with its mirror image, whose label costs
// nothing. Games are independent and entered in their order, so the result
// depends on o alone. When ctx is done it returns ctx's error.
func generate4(ctx context.Context, o Options, prompt func(played4) string) (generated4, error) {
	var g generated4
	seen := make(map[string]bool, o.Positions)
	enter := func(p played4, v verdict4) {
		text := prompt(p)
		if seen[text] || len(g.examples) == o.Positions {
			return
		}
		seen[text] = true
		g.examples = append(g.examples, labelled{
			Example: data.Example{Prompt: text, Answers: answers4(v.best)},
			orbit:   p.canonical(),
		})
		if v.exact {
			g.exact++
		}
	}
	for first := 0; len(g.examples) < o.Positions; first += round4 {
		before := len(g.examples)
		var games [round4][]visit4
		if err := parallel(ctx, round4, func(lo, hi int) {
			s := searchers4.Get().(*search4).until(ctx)
			defer searchers4.Put(s)
			for i := lo; i < hi; i++ {
				games[i] = game4(s, o.Depth, gameRNG(o.Seed, first+i))
			}
		}); err != nil {
			return g, err
		}
		for _, visits := range games {
			for _, v := range visits {
				enter(v.game, v.verdict4)
				mirrored := v.verdict4
				mirrored.best = mirror4(v.best)
				enter(v.game.mirrored(), mirrored)
			}
		}
		if len(g.examples) == before {
			return g, fmt.Errorf("task: connect4: games stopped reaching new positions after %d of %d", before, o.Positions)
		}
	}
	return g, nil
}

// game4 plays one game and returns the positions after its opening.
func game4(s *search4, depth int, rng *rand.Rand) []visit4 {
	var b played4
	for range rng.IntN(openings4) {
		next := b.drop(pick4(b.playable(), rng))
		if next.over() != ongoing {
			break
		}
		b = next
	}
	slip := [2]float64{slips4[rng.IntN(len(slips4))], slips4[rng.IntN(len(slips4))]}
	var visits []visit4
	for b.over() == ongoing && !s.stopped {
		v := s.analyse(b.board4, depth)
		visits = append(visits, visit4{b, v})
		moves := v.best
		if rng.Float64() < slip[b.stones()%2] {
			moves = b.playable()
		}
		b = b.drop(pick4(moves, rng))
	}
	return visits
}

// pick4 draws one cell of a set that is not empty.
func pick4(cells uint64, rng *rand.Rand) uint64 {
	var list [cols4]uint64
	n := 0
	for ; cells != 0; cells &= cells - 1 {
		list[n] = cells & -cells
		n++
	}
	return list[rng.IntN(n)]
}
