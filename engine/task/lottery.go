package task

import (
	"context"
	"fmt"
	"math"
	"strings"

	"mito/engine/data"
)

// DefaultDraws is the number of draws of a full set.
const DefaultDraws = 20_000

const (
	drawDigits = 5
	maxDraws   = 100_000
	digits     = "0123456789"
	// drawSalt keeps the digits apart from every other use of the same mixer.
	drawSalt = 0x6c6f7474657279
)

// Lottery is the task "lottery", the negative control: the number of a draw and the digit that was drawn, which has nothing to do with
// it. A model can learn the draws of the training part by heart; of those that are held out it can know nothing, and a loss below ln 10
// nats or hits beyond chance would say that the measurement is wrong.
type Lottery struct{ options Options }

func newLottery(o Options) (*Lottery, error) {
	if o.Positions == 0 {
		o.Positions = DefaultDraws
	}
	if o.Positions > maxDraws {
		return nil, &OptionError{Task: lotteryName, Option: "positions", Got: o.Positions, Want: fmt.Sprintf("at most %d", maxDraws)}
	}
	return &Lottery{o}, nil
}

// Name returns "lottery".
func (*Lottery) Name() string { return lotteryName }

// Alphabet returns the digits and '='.
func (*Lottery) Alphabet() string { return sortedAlphabet(digits + string(promptEnd)) }

// Opponents returns nil.
func (*Lottery) Opponents() []string { return nil }

// Floor is the least mean loss in nats that can be had on draws that were not seen: that of ten equal chances.
func (*Lottery) Floor() float64 { return math.Log(float64(len(digits))) }

func (t *Lottery) drawn(n int) string {
	d := data.Mix(t.options.Seed^drawSalt, uint64(n)) % uint64(len(digits))
	return digits[d : d+1]
}

func drawPrompt(n int) string { return fmt.Sprintf("%0*d%c", drawDigits, n, promptEnd) }

// Examples returns the draws of a split in their order.
func (t *Lottery) Examples(ctx context.Context, split Split) ([]data.Example, error) {
	all := make([]labelled, t.options.Positions)
	for n := range all {
		all[n] = labelled{Example: data.Example{Prompt: drawPrompt(n), Answers: []string{t.drawn(n)}}, orbit: uint64(n)}
	}
	if err := ctx.Err(); err != nil {
		return nil, stopped(ctx, lotteryName, err)
	}
	return selectSplit(all, split)
}

// Solve looks the draw up, which is no solving: the digit does not follow from the prompt.
func (t *Lottery) Solve(prompt string) ([]string, error) {
	var n int
	if _, err := fmt.Sscanf(prompt, "%05d=", &n); err != nil || n >= t.options.Positions || prompt != drawPrompt(n) {
		return nil, &PromptError{Task: lotteryName, Prompt: prompt,
			Reason: fmt.Sprintf("want the number of a draw, %05d to %05d, and %q", 0, t.options.Positions-1, promptEnd)}
	}
	return []string{t.drawn(n)}, nil
}

// Score asks p for different draws that are held out, o.Games of them at most, and counts what it guesses right. A draw that came
// twice would be answered alike both times, and the interval takes the answers to be independent.
func (t *Lottery) Score(ctx context.Context, p Player, o ScoreOptions) (Score, error) {
	o, err := o.withDefaults(lotteryName)
	if err != nil {
		return Score{}, err
	}
	if o.Opponent != "" {
		return Score{}, &OpponentError{Task: lotteryName, Opponent: o.Opponent}
	}
	if o.MoveLimit == 0 {
		o.MoveLimit = 1
	}
	held, err := t.Examples(ctx, Test)
	if err != nil {
		return Score{}, err
	}
	if len(held) == 0 {
		return Score{}, &OptionError{Task: lotteryName, Option: "positions", Got: t.options.Positions, Want: "more: none of its draws is held out"}
	}
	held = chosen(held, o.Games, o.Seed)
	n := len(held)
	prompts, legal, drawn := make([]string, n), make([][]string, n), make([]string, n)
	for i, e := range held {
		prompts[i], legal[i], drawn[i] = e.Prompt, strings.Split(digits, ""), e.Answers[0]
	}
	choices, own, err := ask(lotteryName, p, prompts, legal)
	if err != nil {
		return Score{}, err
	}
	s := Score{Boards: n, MoveLimit: o.MoveLimit, Chance: 1 / float64(len(digits)), Decisions: len(choices), OwnLegal: share(own, len(choices)), Seed: o.Seed}
	for i, c := range choices {
		result := "unsolved"
		if c.Answer == drawn[i] {
			s.Solved++
			result = "solved"
		}
		kept := o.keep(i, true)
		kept.note(prompts[i], true, c.Answer)
		kept.end(o, prompts[i], true, result)
	}
	o.Progress(n, n)
	return s, nil
}

// Describe returns the prompt and answer format.
func (t *Lottery) Describe() string {
	return fmt.Sprintf(`lottery: guess the digit of a draw, which nobody can: the negative control.

Prompt: 6 characters: the number of the draw in 5 digits, then '='.
Answer: 1 character, a digit, 0123456789. All are legal.

For example the first draw:
    prompt %s   best answers %s

The digits are drawn by lot and do not follow from the prompt. On draws that are
held out no model can have a mean loss below ln 10 = %.4f nats or more than a
tenth of hits, but by chance.
`, drawPrompt(0), t.drawn(0), t.Floor())
}
