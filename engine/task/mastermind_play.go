package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Players lists the ways in which Score lets a model play: PlayerPolicy guesses what it answers, peg by peg; PlayerPolicyOnce makes no
// guess twice.
func (*Mastermind) Players() []string { return []string{PlayerPolicy, PlayerPolicyOnce} }

// breaking is a secret under way.
type breaking struct {
	secret code
	rounds history
	begun  []uint8
	kept   *Game // nil where it is not kept
}

// Score draws secrets uniformly from all codes and counts those that p finds within o.MoveLimit guesses (0 for DefaultGuesses, which is
// also the most).
func (t *Mastermind) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(mastermindName, t.Players()...)
	if err != nil {
		return Score{}, err
	}
	if o.Opponent != "" {
		return Score{}, &OpponentError{Task: mastermindName, Opponent: o.Opponent}
	}
	if o.MoveLimit == 0 {
		o.MoveLimit = DefaultGuesses
	}
	if o.MoveLimit > DefaultGuesses {
		return Score{}, &OptionError{Task: mastermindName, Option: "move limit", Got: o.MoveLimit, Want: fmt.Sprintf("at most %d guesses", DefaultGuesses)}
	}
	active := make([]*breaking, o.Games)
	for i := range active {
		active[i] = &breaking{secret: codeOf(gameRNG(o.Seed, i).IntN(codes)), kept: o.keep(i, true)}
	}
	s := Score{Boards: o.Games, Player: o.Player, MoveLimit: o.MoveLimit, Seed: o.Seed}
	own := 0
	for range o.MoveLimit {
		for range pegs {
			if err := ctx.Err(); err != nil {
				return Score{}, err
			}
			n, err := nextPeg(p, active, o.Player == PlayerPolicyOnce)
			if err != nil {
				return Score{}, err
			}
			own += n
			s.Decisions += len(active)
		}
		active = slices.DeleteFunc(active, func(b *breaking) bool {
			solved := b.answer(o)
			if solved {
				s.Solved++
			}
			return solved
		})
		o.Progress(s.Solved, o.Games)
	}
	for _, b := range active {
		b.kept.end(o, b.rounds.prompt(nil), true, "unsolved")
	}
	s.OwnLegal = share(own, s.Decisions)
	o.Progress(o.Games, o.Games)
	return s, nil
}

// nextPeg asks for a peg of every guess and returns how many of the player's own choices were legal.
func nextPeg(p Player, active []*breaking, once bool) (own int, err error) {
	if len(active) == 0 {
		return 0, nil
	}
	prompts, legal := make([]string, len(active)), make([][]string, len(active))
	for i, b := range active {
		prompts[i], legal[i] = b.rounds.prompt(b.begun), b.legal(once)
	}
	choices, own, err := ask(mastermindName, p, prompts, legal)
	if err != nil {
		return 0, err
	}
	for i, b := range active {
		b.kept.note(prompts[i], true, choices[i].Answer)
		b.begun = append(b.begun, uint8(strings.Index(pegChars, choices[i].Answer)%colours))
	}
	return own, nil
}

// legal are the pegs that may come next: all, or those with which the guess can still become one that was not made.
func (b *breaking) legal(once bool) []string {
	all := anyPeg(len(b.begun))
	if !once {
		return all
	}
	ends := 1 // guesses that begin with a peg more than begun
	for range pegs - 1 - len(b.begun) {
		ends *= colours
	}
	var open []string
	for k, a := range all {
		made := 0
		begun := append(slices.Clone(b.begun), uint8(k))
		for _, r := range b.rounds {
			if slices.Equal(r.guess[:len(begun)], begun) {
				made++
			}
		}
		if made < ends {
			open = append(open, a)
		}
	}
	return open
}

// answer ends a guess and says whether it was right.
func (b *breaking) answer(o ScoreOptions) bool {
	guess := code(b.begun)
	b.rounds, b.begun = append(b.rounds, round{guess, feedback(b.secret, guess)}), nil
	if guess == b.secret {
		b.kept.end(o, b.rounds.prompt(nil), true, "solved")
		return true
	}
	return false
}

// Describe returns the prompt and answer format.
func (t *Mastermind) Describe() string {
	var s strings.Builder
	s.WriteString(`mastermind: find a secret code of 4 pegs in 6 colours within 10 guesses.

After every guess it is said how many pegs are right in colour and place (black)
and how many more in colour only (white).

Prompt: '>', then for every guess its first 3 pegs, all 4 pegs again with what was
said of the guess, and '>'; then the pegs of the next guess that are chosen
already. The prompts of a game continue one another.
A peg has a character for its place and its colour, from the first colour to the
sixth, while the guess is made:
`)
	for p := range pegs {
		fmt.Fprintf(&s, "    peg %d   %s\n", p+1, pegChars[colours*p:colours*(p+1)])
	}
	s.WriteString("and when it was answered, by black and white pegs:\n")
	for _, said := range answers14 {
		fmt.Fprintf(&s, "    %d black, %d white  ", said/5, said%5)
		for p := range pegs {
			s.WriteByte(' ')
			for k := range uint8(colours) {
				s.WriteRune(saidChar(said, p, k))
			}
		}
		s.WriteByte('\n')
	}
	h := history{{code{0, 0, 1, 1}, feedback(code{1, 0, 2, 3}, code{0, 0, 1, 1})}}
	fmt.Fprintf(&s, `
Answer: 1 character, the next peg. Legal answers: the 6 characters of its place.

For example the first peg, and the third after one guess and two pegs:
    prompt %s
    prompt %s

Right answers are those of a breaker that guesses, of the codes that the secret can
be, the one whose answers leave the fewest of them at worst: 1,296 guesses in all.
Score: secrets found within a number of guesses (%d unless told otherwise), by
the players %s. The second makes no guess twice.
`, history(nil).prompt(nil), h.prompt([]uint8{2, 0}), DefaultGuesses, strings.Join(t.Players(), ", "))
	return s.String()
}
