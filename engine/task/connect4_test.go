package task

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// The numbers of positions after n plies, finished games included, are OEIS
// A212693.
func TestConnect4PositionCounts(t *testing.T) {
	want := []int{1, 7, 49, 238, 1120, 4263, 16422, 54859, 184275}
	level := map[board4]bool{{}: true}
	for ply, n := range want {
		if len(level) != n {
			t.Fatalf("%d positions after %d plies, want %d", len(level), ply, n)
		}
		next := map[board4]bool{}
		keys := map[uint64]bool{}
		for b := range level {
			keys[b.key()] = true
			if b.over() != ongoing {
				continue
			}
			for moves := b.playable(); moves != 0; moves &= moves - 1 {
				next[b.drop(moves&-moves)] = true
			}
		}
		if len(keys) != len(level) {
			t.Fatalf("%d keys for %d positions after %d plies", len(keys), len(level), ply)
		}
		level = next
	}
}

// grid4 is an independent connect4 on a plain array: 0 free, 1 and 2 stones.
type grid4 struct {
	cell   [cols4][rows4]int
	height [cols4]int
	stones int
}

func (g *grid4) drop(c int) {
	g.cell[c][g.height[c]] = 1 + g.stones%2
	g.height[c]++
	g.stones++
}

func (g *grid4) undo(c int) {
	g.height[c]--
	g.stones--
	g.cell[c][g.height[c]] = 0
}

func (g *grid4) four(s int) bool {
	for c := range cols4 {
		for r := range rows4 {
			for _, d := range [][2]int{{1, 0}, {0, 1}, {1, 1}, {1, -1}} {
				n := 0
				for x, y := c, r; x < cols4 && y >= 0 && y < rows4 && g.cell[x][y] == s && n < 4; x, y = x+d[0], y+d[1] {
					n++
				}
				if n == 4 {
					return true
				}
			}
		}
	}
	return false
}

// minimax returns the exact value for the side to move, in search4's scale.
func (g *grid4) minimax() int {
	if g.stones == cells4 {
		return 0
	}
	me, best := 1+g.stones%2, -inf4
	for c := range cols4 {
		if g.height[c] == rows4 {
			continue
		}
		g.drop(c)
		v := 0
		if g.four(me) {
			v = winValue4(g.stones)
		} else {
			v = -g.minimax()
		}
		g.undo(c)
		best = max(best, v)
	}
	return best
}

func (g *grid4) board() board4 {
	var b board4
	for c := range cols4 {
		for r := range g.height[c] {
			bit := uint64(1) << (c*stride4 + r)
			b.all |= bit
			if g.cell[c][r] == 1+g.stones%2 {
				b.own |= bit
			}
		}
	}
	return b
}

// randomGrid4 plays random moves and returns an undecided position with the
// given number of stones.
func randomGrid4(rng *rand.Rand, stones int) grid4 {
	for {
		var g grid4
		ok := true
		for ok && g.stones < stones {
			c := rng.IntN(cols4)
			if g.height[c] == rows4 {
				continue
			}
			g.drop(c)
			ok = !g.four(1) && !g.four(2)
		}
		if ok {
			return g
		}
	}
}

func TestConnect4EndgamesAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	s := new(search4)
	values := map[int]int{}
	for i := range 300 {
		g := randomGrid4(rng, cells4-1-i%9)
		want := g.minimax()
		v := s.analyse(g.board(), 1)
		if v.value != want || !v.exact {
			t.Fatalf("position %d with %d free cells: value %d exact %v, brute force %d", i, cells4-g.stones, v.value, v.exact, want)
		}
		for c := range cols4 {
			if g.height[c] == rows4 {
				continue
			}
			g.drop(c)
			move := -inf4
			if g.four(2 - g.stones%2) {
				move = winValue4(g.stones)
			} else {
				move = -g.minimax()
			}
			g.undo(c)
			if got := v.best&column4(c) != 0; got != (move == want) {
				t.Fatalf("position %d: column %d is best: %v, its value is %d of %d", i, c+1, got, move, want)
			}
		}
		values[max(-1, min(1, want))]++
	}
	if len(values) != 3 {
		t.Errorf("the positions have results %v, want wins, draws and losses", values)
	}
}

// plain4 is the bounded search without pruning, ordering or table.
func plain4(b board4, depth int) int {
	switch {
	case b.over() == lost:
		return -winValue4(b.stones())
	case b.over() == drawn:
		return 0
	case depth == 0:
		return judge4(b)
	}
	best := -inf4
	for m := b.playable(); m != 0; m &= m - 1 {
		best = max(best, -plain4(b.drop(m&-m), depth-1))
	}
	return best
}

func TestConnect4SearchAgainstPlainNegamax(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	s := new(search4) // one table over all positions and depths, on purpose
	for i := range 400 {
		g := randomGrid4(rng, i%(cells4-endgame4))
		b := g.board()
		depth := 1 + i%5
		v := s.analyse(b, depth)
		if want := plain4(b, depth); v.value != want {
			t.Fatalf("position %d at depth %d: value %d, plain negamax %d", i, depth, v.value, want)
		}
		for m := b.playable(); m != 0; m &= m - 1 {
			cell := m & -m
			if got, want := v.best&cell != 0, -plain4(b.drop(cell), depth-1) == v.value; got != want {
				t.Fatalf("position %d at depth %d: cell %d is best: %v, want %v", i, depth, bits.TrailingZeros64(cell), got, want)
			}
		}
	}
}

// What a verdict calls exact must hold however deep one looks.
func TestConnect4ExactMeansExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	s := new(search4)
	checked := 0
	for range 300 {
		g := randomGrid4(rng, 10+rng.IntN(12))
		b := g.board()
		shallow, deep := s.analyse(b, 4), s.analyse(b, 9)
		if shallow.exact {
			checked++
			if shallow.value != deep.value || shallow.best != deep.best {
				t.Fatalf("exact at depth 4: value %d moves %b; depth 9: %d %b", shallow.value, shallow.best, deep.value, deep.best)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d exact verdicts among 300 positions", checked)
	}
}

// The published end-game test set L3_R1 of Pons' Connect 4 solver: columns
// played, then half the stones that stay unplayed, signed for the side to move.
func TestConnect4PublishedPositions(t *testing.T) {
	for _, c := range []struct {
		columns string
		want    int
	}{
		{"2252576253462244111563365343671351441", -1},
		{"7422341735647741166133573473242566", 1},
		{"23163416124767223154467471272416755633", 0},
		{"65214673556155731566316327373221417", -1},
	} {
		var g grid4
		for _, ch := range c.columns {
			g.drop(int(ch - '1'))
		}
		v := new(search4).analyse(g.board(), 1)
		got := 0
		if proven4(v.value) {
			stones := win4 + cells4 - max(v.value, -v.value)
			got = (cells4+2)/2 - (stones+1)/2
			if v.value < 0 {
				got = -got
			}
		}
		if got != c.want || !v.exact {
			t.Errorf("%s: score %d exact %v, want %d", c.columns, got, v.exact, c.want)
		}
	}
}

func TestConnect4Labels(t *testing.T) {
	task, err := newConnect4(Options{Positions: 3000, Depth: 4, Seed: 9})
	if err != nil {
		t.Fatal(err)
	}
	byPrompt := map[string][]string{}
	for _, ex := range mustExamples(t, task, All) {
		byPrompt[ex.Prompt] = ex.Answers
	}
	if len(byPrompt) != 3000 {
		t.Fatalf("%d distinct prompts, want 3000", len(byPrompt))
	}
	i := 0
	for prompt, answers := range byPrompt {
		b, err := parse4(prompt)
		if err != nil || prompt4(b) != prompt {
			t.Fatalf("%s: %v", prompt, err)
		}
		if mirrored, ok := byPrompt[prompt4(b.mirrored())]; ok {
			for j, a := range mirrored {
				if back := '8' - a[0] + '0'; string(rune(back)) != answers[len(answers)-1-j] {
					t.Fatalf("%s: answers %v, its mirror image %v", prompt, answers, mirrored)
				}
			}
		}
		if i++; i%20 == 0 {
			if solved, err := task.Solve(prompt); err != nil || len(solved) != len(answers) || solved[0] != answers[0] {
				t.Fatalf("%s: label %v, Solve %v, %v", prompt, answers, solved, err)
			}
		}
	}
	exact, err := task.ExactShare(t.Context())
	if err != nil || exact <= 0 || exact >= 1 {
		t.Errorf("exact share %v, %v; want some and not all", exact, err)
	}
}
