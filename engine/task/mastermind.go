package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"mito/engine/data"
)

// The size of mastermind: pegs of a code, colours of a peg, and how many codes that makes.
const (
	pegs    = 4
	colours = 6
	codes   = colours * colours * colours * colours

	// DefaultGuesses is how many guesses a player has.
	DefaultGuesses = 10
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

// feedbacks holds what is said of code b where a is the secret, at a·codes+b.
var feedbacks = sync.OnceValue(func() []uint8 {
	all := make([]uint8, codes*codes)
	for a := range codes {
		for b := range codes {
			all[a*codes+b] = feedback(codeOf(a), codeOf(b))
		}
	}
	return all
})

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

// guessOf is the guess of the breaker: of the candidates that go on as the guess was begun, the one whose answers leave the fewest
// candidates at worst, the first of equal ones. ok is false where none goes on so.
func guessOf(candidates []code, begun []uint8) (guess code, ok bool) {
	least := codes + 1
	said := feedbacks()
	numbers := make([]int, len(candidates))
	for i, c := range candidates {
		numbers[i] = c.number()
	}
	for i, c := range candidates {
		if !slices.Equal(c[:len(begun)], begun) {
			continue
		}
		var left [allBlack + 1]int
		row := said[numbers[i]*codes:][:codes] // feedback does not change when guess and secret change places
		for _, secret := range numbers {
			left[row[secret]]++
		}
		if worst := slices.Max(left[:]); worst < least {
			guess, least, ok = c, worst, true
		}
	}
	return guess, ok
}

// tree lists the prompts of every game that the breaker can play: each code is its guess in one history.
func tree(h history, candidates []code) (out []labelled) {
	guess, _ := guessOf(candidates, nil)
	orbit := h.orbit()
	for p := range pegs {
		out = append(out, labelled{orbit: orbit, Example: data.Example{
			Prompt: h.prompt(guess[:p]), Answers: []string{pegChars[colours*p+int(guess[p]):][:1]}}})
	}
	parts := make([][]code, allBlack)
	for _, c := range candidates {
		if said := feedback(c, guess); said != allBlack {
			parts[said] = append(parts[said], c)
		}
	}
	for said, part := range parts {
		if len(part) > 0 {
			out = append(out, tree(append(slices.Clone(h), round{guess, uint8(said)}), part)...)
		}
	}
	return out
}

var tree4 = sync.OnceValue(func() []labelled { return tree(nil, history(nil).candidates()) })

// Mastermind is the task "mastermind": the games of a breaker that guesses what the secret can be, all 1,296 of them; each peg of each
// guess is a prompt.
type Mastermind struct{ options Options }

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

// Examples returns the labelled prompts of a split, those of a game before those of the next.
func (t *Mastermind) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	if err := ctx.Err(); err != nil {
		return nil, stopped(ctx, mastermindName, err)
	}
	return selectSplit(sample(tree4(), t.options.Positions, t.options.Seed), split)
}

// Solve returns the next peg of the breaker's guess; all pegs where no code that the secret can be goes on as the guess was begun.
func (t *Mastermind) Solve(prompt string) ([]string, error) {
	h, begun, err := parseMastermind(prompt)
	if err != nil {
		return nil, err
	}
	candidates := h.candidates()
	if len(candidates) == 0 {
		return nil, &PromptError{Task: mastermindName, Prompt: prompt, Reason: "no secret would be answered like this"}
	}
	p := len(begun)
	if guess, ok := guessOf(candidates, begun); ok {
		return []string{pegChars[colours*p+int(guess[p]):][:1]}, nil
	}
	return anyPeg(p), nil
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
