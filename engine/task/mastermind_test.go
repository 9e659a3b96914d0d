package task

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func codeText(text string) (c code) {
	for p := range c {
		c[p] = text[p] - 'A'
	}
	return c
}

// What is said of a guess, by hand.
func TestFeedback(t *testing.T) {
	for _, c := range []struct {
		secret, guess string
		black, white  uint8
	}{
		{"AABB", "AABB", 4, 0},
		{"AABB", "BBAA", 0, 4},
		{"AABB", "ABCD", 1, 1},
		{"ABCD", "DCBA", 0, 4},
		{"ABCD", "ABDC", 2, 2},
		{"ABCD", "AAAA", 1, 0},
		{"AAAB", "BBBA", 0, 2},
		{"CDEF", "AABB", 0, 0},
		{"AABC", "ABAC", 2, 2},
		{"ABCD", "ABCE", 3, 0},
	} {
		if got := feedback(codeText(c.secret), codeText(c.guess)); got != 5*c.black+c.white {
			t.Errorf("%s for %s: %d black and %d white, want %d and %d", c.guess, c.secret, got/5, got%5, c.black, c.white)
		}
	}
	said := map[uint8]bool{}
	for n := range codes {
		f := feedback(codeOf(7), codeOf(n))
		if said[f] = true; !slices.Contains(answers14, f) || codeOf(n).number() != n {
			t.Fatalf("code %d: answer %d is unknown, or the number differs", n, f)
		}
	}
}

// randomHistory is some random guesses at a random secret that do not find it.
func randomHistory(rng *rand.Rand, n int) (h history, secret code) {
	secret = codeOf(rng.IntN(codes))
	for len(h) < n {
		if guess := codeOf(rng.IntN(codes)); guess != secret {
			h = append(h, round{guess, feedback(secret, guess)})
		}
	}
	return h, secret
}

// The secret is always a candidate, prompts say the game, and other names of colours and another order of the pegs are one orbit.
func TestMastermindHistories(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 6))
	for i := range 300 {
		h, secret := randomHistory(rng, i%DefaultGuesses)
		if !slices.Contains(h.candidates(), secret) {
			t.Fatalf("%v: the secret %v is no candidate", h, secret)
		}
		begun := secret[:i%pegs]
		read, pegsRead, err := parseMastermind(h.prompt(begun))
		if err != nil || !slices.Equal(read, h) || !slices.Equal(pegsRead, begun) {
			t.Fatalf("%q: %v %v, %v", h.prompt(begun), read, pegsRead, err)
		}
		order, names := orders[rng.IntN(len(orders))], rng.Perm(colours)
		image := slices.Clone(h)
		for k, r := range h {
			for p, from := range order {
				image[k].guess[p] = uint8(names[r.guess[from]])
			}
		}
		if image.orbit() != h.orbit() {
			t.Fatalf("%v and %v have different orbits", h, image)
		}
		if len(h) > 0 {
			changed := slices.Clone(h)
			if changed[0].said = (h[0].said + 1) % 14; changed.orbit() == h.orbit() {
				t.Fatalf("%v and %v have one orbit", h, changed)
			}
		}
	}
	if len(orders) != 24 {
		t.Errorf("%d orders of four pegs", len(orders))
	}
}

// The breaker's games are a tree in which every code is guessed once, after a history that allows it; what Solve says is the label.
func TestMastermindLabels(t *testing.T) {
	game := &Mastermind{}
	all := mustExamples(t, game, All)
	if len(all) != pegs*codes {
		t.Fatalf("%d prompts, want %d", len(all), pegs*codes)
	}
	guessed := map[code]bool{}
	for i, e := range all {
		h, begun, err := parseMastermind(e.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		if i%37 == 0 {
			if got, err := game.Solve(e.Prompt); err != nil || !slices.Equal(got, e.Answers) {
				t.Fatalf("%q: solved %v, %v, labelled %v", e.Prompt, got, err, e.Answers)
			}
		}
		if len(begun) == pegs-1 {
			c := code(append(begun, uint8(strings.Index(pegChars, e.Answers[0])%colours)))
			if guessed[c] || !h.allows(c) {
				t.Fatalf("%q guesses %v twice, or cannot be it", e.Prompt, c)
			}
			guessed[c] = true
		}
	}
	if len(guessed) != codes {
		t.Errorf("%d codes are guessed", len(guessed))
	}
}

func TestMastermindRefuses(t *testing.T) {
	game, err := New("mastermind", Options{})
	if err != nil {
		t.Fatal(err)
	}
	none := (history{{code{}, 0}}).prompt(nil) // no peg of the first colour
	for prompt, says := range map[string]string{
		"":          "at its beginning",
		"AG":        "at its beginning",
		">G":        "peg 1",
		">AGMS":     "last guess is missing",
		">AGM가가가가>": "guess 1 is not four pegs",
		">BGM" + strings.TrimPrefix(none, ">AGM"):     "guess 1 reads",
		(history{{code{}, allBlack}}).prompt(nil):     "the code is broken",
		none + (history{{code{}, 4}}).prompt(nil)[1:]: "no secret",
		none + strings.Repeat(none[1:], 9):            "10 guesses are over",
	} {
		if _, err := game.Solve(prompt); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", prompt, err, says)
		}
	}
}

// The solver finds every secret, random pegs almost none; a player that makes no guess twice makes none twice.
func TestMastermindScores(t *testing.T) {
	game := &Mastermind{}
	for _, player := range game.Players() {
		if s := mustScore(t, game, SolverPlayer(game), ScoreOptions{Games: 40, Player: player, MoveLimit: 7}); s.Solved != 40 || s.OwnLegal != 1 {
			t.Errorf("%s: the solver: %v", player, s)
		}
	}
	if s := mustScore(t, game, RandomPlayer(1), ScoreOptions{Games: 300}); s.Solved > 15 {
		t.Errorf("random pegs: %v", s)
	}
	kept := 0
	o := ScoreOptions{Games: 20, Player: PlayerPolicyOnce, Keep: 20, Kept: func(g Game) {
		kept++
		seen := map[string]bool{}
		last := g.Frames[len(g.Frames)-1].Prompt
		for text := []rune(last)[1:]; len(text) >= perRound; text = text[perRound:] {
			r, _ := parseRound(text[pegs-1 : perRound-1])
			guess := fmt.Sprint(r.guess)
			if seen[guess] {
				t.Errorf("%q repeats a guess", last)
			}
			seen[guess] = true
		}
	}}
	mustScore(t, game, firstLegal{}, o)
	if kept != 20 {
		t.Errorf("%d games kept", kept)
	}
}

// firstLegal always plays the first legal answer.
type firstLegal struct{}

func (firstLegal) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	for i := range out {
		out[i] = Choice{Answer: legal[i][0], OwnLegal: true}
	}
	return out, nil
}
