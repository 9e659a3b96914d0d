package task

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomGame4 plays random moves until the game ends and returns every position on the way.
func randomGame4(rng *rand.Rand) (all []played4) {
	var p played4
	for p.over() == ongoing {
		all = append(all, p)
		p = p.drop(pick4(p.playable(), rng))
	}
	return all
}

// The prompts of a game continue one another, and each says its position; its mirror image is that of the mirrored board.
func TestMovesPrompts(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for range 50 {
		last := ""
		for _, p := range randomGame4(rng) {
			prompt := p.moves()
			if !strings.HasPrefix(prompt, last) || len(prompt) <= len(last) {
				t.Fatalf("%q does not continue %q", prompt, last)
			}
			last = prompt
			for _, q := range []played4{p, p.mirrored()} {
				read, err := parseMoves4(q.moves())
				if err != nil || read != q {
					t.Fatalf("%q: %+v, %v, want %+v", q.moves(), read, err, q)
				}
			}
			if p.mirrored().board4 != p.board4.mirrored() || p.mirrored().mirrored() != p {
				t.Fatalf("%q: the mirrored game leads elsewhere", prompt)
			}
		}
	}
}

func TestMovesRefuses(t *testing.T) {
	c4, err := New("connect4", Options{Format: FormatMoves, Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	for prompt, says := range map[string]string{
		"":          "at its beginning",
		"Sa":        "at its beginning",
		"▶a":        `stone 1 is 'a'`,
		"▶SS":       `stone 2 is 'S'`,
		"▶T":        "lowest free cell",
		"▶SzSA":     "stone 2",
		"▶AsBtCuD":  "the game is over",
		"▶AsBtCuDv": "before stone 8",
	} {
		var pe *PromptError
		if _, err := c4.Solve(prompt); !errors.As(err, &pe) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", prompt, err, says)
		}
	}
}

// Both formats of connect4 label alike: what differs is the prompt.
func TestMovesLabels(t *testing.T) {
	o := Options{Positions: 2000, Depth: 3, Seed: 5, Format: FormatMoves}
	moves, err := newConnect4(o)
	if err != nil {
		t.Fatal(err)
	}
	o.Format = ""
	board, err := newConnect4(o)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range mustExamples(t, moves, All) {
		p, err := parseMoves4(e.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		want, err := board.Solve(prompt4(p.board4))
		if err != nil || strings.Join(want, "") != strings.Join(e.Answers, "") {
			t.Fatalf("example %d %q: %v, want %v (%v)", i, e.Prompt, e.Answers, want, err)
		}
	}
	a := mustScore(t, board, SolverPlayer(board), ScoreOptions{Games: 40, Seed: 3})
	b := mustScore(t, moves, SolverPlayer(moves), ScoreOptions{Games: 40, Seed: 3})
	if a != b || a.Win < 35 {
		t.Errorf("the solver scores %v, in moves %v", a, b)
	}
}

// A model's characters tell the format that it was made for, unless it knows all characters.
func TestFormatOf(t *testing.T) {
	for _, name := range Names() {
		for _, format := range append([]string{""}, Formats(name)...) {
			task, err := New(name, Options{Format: format, Positions: 10, Depth: 0})
			if err != nil {
				t.Fatal(err)
			}
			knows := func(text string) bool {
				return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(task.Alphabet(), r) })
			}
			if got := FormatOf(name, knows); got != format {
				t.Errorf("%s %q: the characters say %q", name, format, got)
			}
		}
		if got := FormatOf(name, func(string) bool { return true }); got != "" {
			t.Errorf("%s: a model that knows all characters says %q", name, got)
		}
		var fe *FormatError
		if _, err := New(name, Options{Format: "morse"}); !errors.As(err, &fe) {
			t.Errorf("%s: %v, want a FormatError", name, err)
		}
	}
}

// limited gives the solver's answer, but for a share of the boards the worst.
type erring struct {
	t     *Puzzle8
	share int
}

func (e erring) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	for i, prompt := range prompts {
		b, err := parse8(prompt)
		if err != nil {
			return nil, err
		}
		best := e.t.answers(solved8(), b)
		out[i].Answer = legal[i][0]
		for _, a := range legal[i] {
			if (b.rank()%100 >= e.share) == (a == best[0]) {
				out[i] = Choice{Answer: a, OwnLegal: true}
				break
			}
		}
	}
	return out, nil
}

// The solver solves every board in the least number of moves, whichever way it plays. One that errs at a board errs there
// again: the policy goes in circles, and the player that enters no board twice gets out of them.
func TestPuzzlePlayers(t *testing.T) {
	for _, format := range []string{"", FormatDistance} {
		p := newPuzzle8(Options{Format: format})
		for _, player := range p.Players() {
			s := mustScore(t, p, SolverPlayer(p), ScoreOptions{Games: 60, Player: player, MoveLimit: 31, Seed: 2})
			if strings.HasSuffix(player, "without-repeats") && s.Solved != 60 || s.Solved < 60 || s.LengthRatio != 1 || s.Player != player {
				t.Errorf("format %q, %s: %v", format, player, s)
			}
		}
		policy := mustScore(t, p, erring{p, 20}, ScoreOptions{Games: 100, Player: PlayerPolicy, Seed: 2})
		once := mustScore(t, p, erring{p, 20}, ScoreOptions{Games: 100, Player: PlayerPolicyOnce, Seed: 2})
		if !strings.Contains(policy.String(), "own choice legal ") || strings.Contains(policy.String(), "repeat ") || !strings.Contains(once.String(), "own choice legal and no repeat ") {
			t.Errorf("format %q: what was the model's own choice? %v; %v", format, policy, once)
		}
		if policy.Solved > 40 || once.Solved < 2*policy.Solved || once.LengthRatio < 1 {
			t.Errorf("format %q: one that errs at a fifth of the boards: %v; %v", format, policy, once)
		}
	}
	var pe *PlayerNameError
	if _, err := newPuzzle8(Options{}).Score(t.Context(), RandomPlayer(1), ScoreOptions{Player: PlayerNearest}); !errors.As(err, &pe) {
		t.Errorf("%v, want a PlayerNameError: without distances none is nearest", err)
	}
}

// rating says the distances of the solver.
type rating struct{ Player }

func (r rating) Rate(prompts, answers []string) ([][]float64, error) {
	out := make([][]float64, len(prompts))
	for i, prompt := range prompts {
		b, err := parse8(prompt)
		if err != nil {
			return nil, err
		}
		out[i] = make([]float64, len(answers))
		out[i][solved8().to[b.rank()]-1] = 1
	}
	return out, nil
}

// A player that rates is asked for its ratings, not for its answers.
func TestPuzzleRater(t *testing.T) {
	p := newPuzzle8(Options{Format: FormatDistance})
	s := mustScore(t, p, rating{RandomPlayer(1)}, ScoreOptions{Games: 60, Player: PlayerNearest, MoveLimit: 31})
	if s.Solved != 60 || s.LengthRatio != 1 {
		t.Errorf("%v", s)
	}
}

// In FormatDistance no board near the goal is held out, farther ones are as in the other format, and rare ones are visited more often.
func TestDistanceSplit(t *testing.T) {
	plain, distance := newPuzzle8(Options{}), newPuzzle8(Options{Format: FormatDistance})
	held := map[string]bool{}
	near := 0
	for _, e := range mustExamples(t, plain, Test) {
		held[e.Prompt] = true
	}
	for _, e := range mustExamples(t, distance, Test) {
		if !held[e.Prompt] {
			t.Fatalf("%q is held out in one format only", e.Prompt)
		}
		delete(held, e.Prompt)
	}
	for prompt := range held {
		b, err := parse8(prompt)
		if err != nil || solved8().to[b.rank()] > endgame8 {
			t.Fatalf("%q is held out in one format only", prompt)
		}
	}
	for _, e := range mustExamples(t, distance, All) {
		b, err := parse8(e.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		d := solved8().to[b.rank()]
		if d <= endgame8 {
			near++
		}
		if d <= 6 && e.Times != 64 || d >= 15 && d <= 28 && e.Times != 1 || string([]rune(e.Answers[0])[0]) != string(left8[d-1]) {
			t.Fatalf("%q, %d moves from the goal: %+v", e.Prompt, d, e)
		}
	}
	if near != 705 || len(held) == 0 {
		t.Errorf("%d boards within %d moves, %d of them held out in the other format", near, endgame8, len(held))
	}
}
