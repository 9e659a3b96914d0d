package task

import (
	"math"
	"testing"
)

// The digits are even and independent of the number: chi-square over digits, and over pairs of last digit and drawn digit, with 9 and 81
// degrees of freedom and room of six standard deviations.
func TestLotteryIsFair(t *testing.T) {
	game := must(newLottery(Options{Positions: maxDraws}))
	var count [10]float64
	var pair [10][10]float64
	for n := range maxDraws {
		d := game.drawn(n)[0] - '0'
		count[d]++
		pair[n%10][d]++
	}
	square := func(got, want float64) float64 { return (got - want) * (got - want) / want }
	x, y := 0.0, 0.0
	for d := range count {
		x += square(count[d], maxDraws/10)
		for e := range pair[d] {
			y += square(pair[d][e], maxDraws/100)
		}
	}
	if x > 9+6*math.Sqrt(18) || y > 99+6*math.Sqrt(198) {
		t.Errorf("chi-square %v over digits, %v over pairs", x, y)
	}
	if other := must(newLottery(Options{Seed: 1})); other.drawn(1) == game.drawn(1) && other.drawn(2) == game.drawn(2) && other.drawn(3) == game.drawn(3) &&
		other.drawn(4) == game.drawn(4) && other.drawn(5) == game.drawn(5) && other.drawn(6) == game.drawn(6) {
		t.Error("another seed draws the same")
	}
}

// Chance is inside the interval of a player that guesses, and outside that of one that looks it up.
func TestLotteryScore(t *testing.T) {
	game := must(newLottery(Options{}))
	guess := mustScore(t, game, RandomPlayer(1), ScoreOptions{Seed: 1})
	if !guess.ByChance() || guess.Boards != DefaultGames {
		t.Errorf("guessing: %v", guess)
	}
	known := mustScore(t, game, SolverPlayer(game), ScoreOptions{Seed: 1})
	if known.ByChance() || known.Solved != DefaultGames {
		t.Errorf("looking it up: %v", known)
	}
	// No draw is asked twice, and no more than are held out.
	few := must(newLottery(Options{Positions: 1000}))
	held := must(few.Examples(t.Context(), Test))
	for _, games := range []int{10, len(held), 5000} {
		asked := map[string]bool{}
		s := mustScore(t, few, playerFunc(func(prompt string, legal []string) Choice {
			if asked[prompt] {
				t.Errorf("%d games: %q is asked twice", games, prompt)
			}
			asked[prompt] = true
			return Choice{Answer: legal[0], OwnLegal: true}
		}), ScoreOptions{Games: games, Seed: 1})
		if want := min(games, len(held)); len(asked) != want || s.Boards != want || s.Decisions != want {
			t.Errorf("%d games, %d draws are held out: %d asked, %+v", games, len(held), len(asked), s)
		}
	}
	if _, err := game.Solve("99999="); err == nil {
		t.Error("solved a draw that was not made")
	}
}
