package task

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"mito/engine/data"
)

// The size of mastermind: pegs of a code, colours of a peg, and how many codes that makes.
const (
	pegs    = 4
	colours = 6
	codes   = colours * colours * colours * colours

	// DefaultGuesses is how many guesses a player has.
	DefaultGuesses = 10
	// DefaultPositionsMastermind is the number of labelled prompts of the full set.
	DefaultPositionsMastermind = 400_000

	maxPositionsMastermind = 5_000_000
)

// The characters of a prompt. Peg p of colour k of the guess that is being made is character colours·p+k of pegChars; when the guess is
// answered with b black and w white pegs, each of its pegs is written again, as character 24·n+colours·p+k behind saidFirst, where n is
// the place of 5·b+w among the answers that there are. So every peg says what came of it, and a model sees at a glance what speaks for
// a colour at a place.
const (
	pegChars        = "ABCDEF" + "GHIJKL" + "MNOPQR" + "STUVWX"
	saidFirst       = '가' // of Hangul's syllables, 11,172 letters in a row
	mastermindStart = '>'
)

// answers14 are the answers that a guess can have, black and white pegs, as feedback numbers them.
var answers14 = []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 15, 20}

func saidChar(said uint8, p int, colour uint8) rune {
	return saidFirst + rune(24*slices.Index(answers14, said)+colours*p+int(colour))
}

// perRound is the number of characters of an answered guess.
const perRound = 2 * pegs

// code is a secret or a guess: the colour of every peg.
type code [pegs]uint8

func codeOf(n int) (c code) {
	for p := range c {
		c[p] = uint8(n % colours)
		n /= colours
	}
	return c
}

func (c code) number() (n int) {
	for p := pegs - 1; p >= 0; p-- {
		n = n*colours + int(c[p])
	}
	return n
}

// feedback is 5·black+white: black pegs are right in colour and place, white ones in colour only.
func feedback(secret, guess code) uint8 {
	var black, common int
	var a, b [colours]int
	for p := range secret {
		if secret[p] == guess[p] {
			black++
		}
		a[secret[p]]++
		b[guess[p]]++
	}
	for k := range a {
		common += min(a[k], b[k])
	}
	return uint8(5*black + common - black)
}

const allBlack = 5 * pegs

// round is a guess and what was said of it.
type round struct {
	guess code
	said  uint8
}

// history is a game of mastermind under way.
type history []round

// allows says whether a code would have been answered as the guesses were.
func (h history) allows(c code) bool {
	for _, r := range h {
		if feedback(c, r.guess) != r.said {
			return false
		}
	}
	return true
}

// candidates are the codes that the secret can be.
func (h history) candidates() (all []code) {
	for n := range codes {
		if c := codeOf(n); h.allows(c) {
			all = append(all, c)
		}
	}
	return all
}

// prompt lists the rounds, and the pegs of the guess that is being made. The last peg of a guess stands with the answer only.
func (h history) prompt(begun []uint8) string {
	var s strings.Builder
	s.WriteByte(mastermindStart)
	write := func(begun []uint8) {
		for p, colour := range begun {
			s.WriteByte(pegChars[colours*p+int(colour)])
		}
	}
	for _, r := range h {
		write(r.guess[:pegs-1])
		for p, colour := range r.guess {
			s.WriteRune(saidChar(r.said, p, colour))
		}
		s.WriteByte(mastermindStart)
	}
	write(begun)
	return s.String()
}

// orbit is the key of a history up to the names of colours and the order of pegs.
func (h history) orbit() uint64 {
	least := ^uint64(0)
	for _, order := range orders {
		var names [colours]uint64 // of the colours in the order in which they come, from 1
		next, key := uint64(1), uint64(len(h))
		for _, r := range h {
			word := uint64(r.said)
			for _, p := range order {
				k := r.guess[p]
				if names[k] == 0 {
					names[k] = next
					next++
				}
				word = word*8 + names[k]
			}
			key = data.Mix(key, word)
		}
		least = min(least, key)
	}
	return least
}

// orders are the orders of four pegs.
var orders = func() (all [][pegs]int) {
	for n := range pegs * pegs * pegs * pegs {
		o := [pegs]int{n % 4, n / 4 % 4, n / 16 % 4, n / 64}
		if o[0] != o[1] && o[0] != o[2] && o[0] != o[3] && o[1] != o[2] && o[1] != o[3] && o[2] != o[3] {
			all = append(all, o)
		}
	}
	return all
}()

// next are the answers to a prompt: the pegs with which the guess that was begun can become one of the candidates.
func next(candidates []code, begun []uint8) (answers []string) {
	p := len(begun)
	var can [colours]bool
	for _, c := range candidates {
		if slices.Equal(c[:p], begun) {
			can[c[p]] = true
		}
	}
	for k, ok := range can {
		if ok {
			answers = append(answers, pegChars[colours*p+k:][:1])
		}
	}
	return answers
}

// Mastermind is the task "mastermind": games of a code breaker that guesses what the secret can be, with random slips; each peg of
// each guess is a prompt.
type Mastermind struct {
	options  Options // Positions is not zero
	examples memo[[]labelled]
}

func newMastermind(o Options) (*Mastermind, error) {
	if o.Positions == 0 {
		o.Positions = DefaultPositionsMastermind
	}
	if o.Positions > maxPositionsMastermind {
		return nil, &OptionError{Task: mastermindName, Option: "positions", Got: o.Positions, Want: fmt.Sprintf("at most %d", maxPositionsMastermind)}
	}
	return &Mastermind{options: o}, nil
}

// Name returns "mastermind".
func (*Mastermind) Name() string { return mastermindName }

// Alphabet returns the 361 characters of prompts and answers.
func (*Mastermind) Alphabet() string {
	all := []rune(pegChars + string(mastermindStart))
	for n := range rune(24 * len(answers14)) {
		all = append(all, saidFirst+n)
	}
	return sortedAlphabet(string(all))
}

// Opponents returns nil: it is a puzzle.
func (*Mastermind) Opponents() []string { return nil }

// Longest is the number of characters of the longest prompt: before the last peg of the last guess.
func (*Mastermind) Longest() int { return 1 + (DefaultGuesses-1)*perRound + pegs - 1 }

// Joined says that prompts of a game continue one another.
func (*Mastermind) Joined() bool { return true }

// Examples returns the labelled prompts of a split in the order of the games they come from.
func (t *Mastermind) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	all, err := t.examples.get(ctx, t.generate)
	if err != nil {
		return nil, stopped(ctx, mastermindName, err)
	}
	return selectSplit(all, split)
}

// generate plays seeded games until enough distinct prompts are labelled. Games are entered in their order, so the result depends
// on the options alone.
func (t *Mastermind) generate(ctx context.Context) (out []labelled, err error) {
	n := t.options.Positions
	seen := make(map[string]bool, n)
	for first := 0; len(out) < n; first += round4 {
		var games [round4][]labelled
		if err := parallel(ctx, round4, func(lo, hi int) {
			for i := lo; i < hi && ctx.Err() == nil; i++ {
				games[i] = gameOfCodes(gameRNG(t.options.Seed, first+i))
			}
		}); err != nil {
			return nil, err
		}
		for _, game := range games {
			for _, l := range game {
				if !seen[l.Prompt] && len(out) < n {
					seen[l.Prompt] = true
					out = append(out, l)
				}
			}
		}
	}
	return out, nil
}

// gameOfCodes breaks one secret and returns the prompts with their answers. The breaker draws among the codes that the secret can be,
// or, as often as this game slips, among all.
func gameOfCodes(rng *rand.Rand) (out []labelled) {
	var h history
	secret, slip := codeOf(rng.IntN(codes)), slips4[rng.IntN(len(slips4))]
	for len(h) < DefaultGuesses {
		candidates, orbit := h.candidates(), h.orbit()
		// The few histories of one guess and none begin every game: they are never held out.
		for len(h) < 2 && inTest(orbit) {
			orbit = data.Mix(orbit)
		}
		guess := candidates[rng.IntN(len(candidates))]
		if rng.Float64() < slip {
			guess = codeOf(rng.IntN(codes))
		}
		for p := range pegs {
			answers := next(candidates, guess[:p])
			if answers == nil {
				break // a slip: no candidate begins so
			}
			out = append(out, labelled{Example: data.Example{Prompt: h.prompt(guess[:p]), Answers: answers}, orbit: orbit})
		}
		h = append(h, round{guess, feedback(secret, guess)})
		if guess == secret {
			break
		}
	}
	return out
}

// Solve returns the pegs with which the guess can become a code that the secret can be; all pegs where none can.
func (t *Mastermind) Solve(prompt string) ([]string, error) {
	h, begun, err := parseMastermind(prompt)
	if err != nil {
		return nil, err
	}
	candidates := h.candidates()
	if len(candidates) == 0 {
		return nil, &PromptError{Task: mastermindName, Prompt: prompt, Reason: "no secret would be answered like this"}
	}
	if answers := next(candidates, begun); answers != nil {
		return answers, nil
	}
	return anyPeg(len(begun)), nil
}

// anyPeg are the pegs of all colours at a place.
func anyPeg(p int) []string { return strings.Split(pegChars[colours*p:colours*(p+1)], "") }

func parseMastermind(prompt string) (h history, begun []uint8, err error) {
	bad := func(format string, args ...any) (history, []uint8, error) {
		return nil, nil, &PromptError{Task: mastermindName, Prompt: prompt, Reason: fmt.Sprintf(format, args...)}
	}
	text := []rune(prompt)
	if len(text) == 0 || text[0] != mastermindStart {
		return bad("want %q at its beginning", mastermindStart)
	}
	for text = text[1:]; len(text) >= pegs; text = text[perRound:] {
		if len(text) < perRound {
			return bad("what is said of the last guess is missing")
		}
		r, ok := parseRound(text[pegs-1 : perRound-1])
		if !ok {
			return bad("guess %d is not four pegs with one answer: %q", len(h)+1, string(text[pegs-1:perRound-1]))
		}
		if h = append(h, r); r.said == allBlack {
			return bad("the code is broken")
		}
		if again := (history{r}).prompt(nil); again != ">"+string(text[:perRound]) {
			return bad("guess %d reads %q, its answer is of %q", len(h), string(text[:perRound]), again[1:])
		}
	}
	if len(h) >= DefaultGuesses {
		return bad("%d guesses are over", DefaultGuesses)
	}
	for p, ch := range text {
		k := strings.IndexRune(pegChars[colours*p:colours*(p+1)], ch)
		if k < 0 {
			return bad("peg %d is %q, want one of %s", p+1, ch, pegChars[colours*p:colours*(p+1)])
		}
		begun = append(begun, uint8(k))
	}
	return h, begun, nil
}

// parseRound reads the pegs of an answered guess; ok is false where they are none, or do not agree on the answer.
func parseRound(text []rune) (r round, ok bool) {
	for p, ch := range text {
		n := int(ch - saidFirst)
		if n < 0 || n >= 24*len(answers14) || n%24/colours != p || p > 0 && answers14[n/24] != r.said {
			return r, false
		}
		r.said, r.guess[p] = answers14[n/24], uint8(n%colours)
	}
	return r, true
}
