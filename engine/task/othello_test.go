package task

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// grid6 is an independent othello on a plain array: 0 free, 1 the side to move, 2 the opponent.
type grid6 [side6][side6]int

func (g *grid6) flips(r, c int) (all [][2]int) {
	for dr := -1; dr <= 1; dr++ {
		for dc := -1; dc <= 1; dc++ {
			if dr == 0 && dc == 0 {
				continue
			}
			var line [][2]int
			y, x := r+dr, c+dc
			for y >= 0 && y < side6 && x >= 0 && x < side6 && g[y][x] == 2 {
				line = append(line, [2]int{y, x})
				y, x = y+dr, x+dc
			}
			if y >= 0 && y < side6 && x >= 0 && x < side6 && g[y][x] == 1 {
				all = append(all, line...)
			}
		}
	}
	return all
}

func (g grid6) play(r, c int) grid6 {
	for _, f := range g.flips(r, c) {
		g[f[0]][f[1]] = 1
	}
	g[r][c] = 1
	return g.passed()
}

func (g grid6) passed() grid6 {
	for r := range g {
		for c := range g[r] {
			if g[r][c] != 0 {
				g[r][c] = 3 - g[r][c]
			}
		}
	}
	return g
}

func (g *grid6) moves() (all [][2]int) {
	for r := range g {
		for c := range g[r] {
			if g[r][c] == 0 && len(g.flips(r, c)) > 0 {
				all = append(all, [2]int{r, c})
			}
		}
	}
	return all
}

// value is the lead in discs of the side to move at the end of perfect play.
func (g grid6) value() int {
	moves := g.moves()
	if len(moves) == 0 {
		p := g.passed()
		if len(p.moves()) > 0 {
			return -p.value()
		}
		lead := 0
		for r := range g {
			for _, v := range g[r] {
				lead += [3]int{0, 1, -1}[v]
			}
		}
		return lead
	}
	best := -cells6
	for _, m := range moves {
		best = max(best, -g.play(m[0], m[1]).value())
	}
	return best
}

func gridOf6(b board6) (g grid6) {
	for c := range cells6 {
		g[c/side6][c%side6] = int(b.own>>c&1) + 2*int(b.opp>>c&1)
	}
	return g
}

// randomGame6 returns the positions of a game of random moves.
func randomGame6(rng *rand.Rand) (all []board6) {
	b := start6
	for b.over() == ongoing {
		all = append(all, b)
		if moves := b.moves(); moves != 0 {
			b = b.place(nth6(moves, rng.IntN(bits.OnesCount64(moves))))
		} else {
			b = b.passed()
		}
	}
	return append(all, b)
}

// Moves and what they turn over are those of a plain array, in games of random moves; a position and its images have one orbit, and
// the moves of an image are the images of the moves.
func TestOthelloMoves(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	passes := 0
	for range 200 {
		for _, b := range randomGame6(rng) {
			g := gridOf6(b)
			var want uint64
			for _, m := range g.moves() {
				want |= cell6(m[0], m[1])
				if next := b.place(side6*m[0] + m[1]); gridOf6(next) != g.play(m[0], m[1]) {
					t.Fatalf("%+v: %v leads to %+v", b, m, next)
				}
			}
			if b.moves() != want {
				t.Fatalf("%+v: moves %b, want %b", b, b.moves(), want)
			}
			if want == 0 && b.over() == ongoing {
				passes++
			}
			for s := range symmetries6 {
				if i := b.image(s); i.canonical() != b.canonical() || i.moves() != image6(want, s) {
					t.Fatalf("%+v: image %d has another orbit or other moves", b, s)
				}
			}
		}
	}
	if passes == 0 {
		t.Error("no game had a pass")
	}
}

// The search of the last moves finds what brute force finds, and all moves of that value.
func TestOthelloEndgames(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	checked := 0
	for range 150 {
		for _, b := range randomGame6(rng) {
			if b.free() > 6 || b.over() != ongoing {
				continue
			}
			checked++
			g := gridOf6(b)
			want := g.value()
			if v := value6(b, 1, -inf6, inf6); v != disc6*want {
				t.Fatalf("%+v: value %d, brute force %d discs", b, v, want)
			}
			var best uint64
			for _, m := range g.moves() {
				if -g.play(m[0], m[1]).value() == want {
					best |= cell6(m[0], m[1])
				}
			}
			if got := best6(b, 1); got != best {
				t.Fatalf("%+v: best %b, brute force %b", b, got, best)
			}
		}
	}
	if checked < 500 {
		t.Errorf("%d endgames", checked)
	}
}

// Prompts say the position, and the result is that of the discs.
func TestOthelloPrompts(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	results := map[outcome]int{}
	for range 200 {
		game := randomGame6(rng)
		for _, b := range game[:len(game)-1] {
			if got, err := parse6(prompt6(b)); err != nil || got != b {
				t.Fatalf("%q: %+v, %v", prompt6(b), got, err)
			}
		}
		last := game[len(game)-1]
		results[last.over()]++
		if o := last.over(); (o == won) != (last.lead() > 0) || (o == lost) != (last.lead() < 0) {
			t.Fatalf("lead %d is outcome %d", last.lead(), o)
		}
		if _, err := parse6(prompt6(last)); err == nil {
			t.Fatalf("%q: the game is over", prompt6(last))
		}
	}
	if results[won] == 0 || results[lost] == 0 || results[drawn] == 0 {
		t.Errorf("results %v: each should occur", results)
	}
}

// A deeper searcher beats random moves and, as a player, shallower ones; both sides of a result add up.
func TestOthelloScores(t *testing.T) {
	game, err := newOthello(Options{Positions: 100, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := mustScore(t, game, SolverPlayer(game), ScoreOptions{Games: 100, Seed: 1})
	if s.Win < 85 || s.Win+s.Draw+s.Loss != 100 || s.OwnLegal != 1 {
		t.Errorf("the solver against random moves: %v", s)
	}
	r := mustScore(t, game, RandomPlayer(1), ScoreOptions{Games: 100, Seed: 1, Opponent: "depth-2"})
	if r.Loss < 85 {
		t.Errorf("random moves against the solver: %v", r)
	}
	even := mustScore(t, game, RandomPlayer(1), ScoreOptions{Games: 400, Seed: 1})
	if even.Win < 130 || even.Loss < 130 {
		t.Errorf("random moves against random moves: %v", even)
	}
}
