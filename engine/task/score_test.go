package task

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

func mustScore(t *testing.T, task Task, p Player, o ScoreOptions) Score {
	t.Helper()
	s, err := task.Score(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Wilson intervals as published for small cases: Newcombe, Statistics in
// Medicine 17 (1998), table I, method 3.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n   int
		lo, hi float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
		{29, 29, 0.8830, 1},
		{0, 0, 0, 1},
	} {
		got := Wilson(c.k, c.n)
		if math.Abs(got[0]-c.lo) > 5e-5 || math.Abs(got[1]-c.hi) > 5e-5 {
			t.Errorf("Wilson(%d, %d) = %.4f, want [%.4f %.4f]", c.k, c.n, got, c.lo, c.hi)
		}
	}
}

// Random against random has known odds: the first player wins 0.5849, the
// second 0.2881 and 0.1270 are drawn (exact fractions 737/1260, 121/420, 8/63).
func TestTicTacToeRandomBaseline(t *testing.T) {
	const n = 20_000
	s := mustScore(t, newTicTacToe(Options{}), RandomPlayer(7), ScoreOptions{Games: n, Seed: 11})
	if s.Opponent != "random" || s.Games != n || s.First.Games != n/2 || s.Second.Games != n/2 || s.OwnLegal != 1 {
		t.Fatalf("%+v", s)
	}
	for _, c := range []struct {
		what string
		got  int
		p    float64
	}{
		{"first wins", s.First.Win, 737. / 1260},
		{"first loses", s.First.Loss, 121. / 420},
		{"first draws", s.First.Draw, 8. / 63},
		{"second loses", s.Second.Loss, 737. / 1260},
		{"second wins", s.Second.Win, 121. / 420},
		{"second draws", s.Second.Draw, 8. / 63},
	} {
		// five standard deviations of the binomial: one run in a million fails
		tol := 5 * math.Sqrt(n/2*c.p*(1-c.p))
		if d := float64(c.got) - n/2*c.p; math.Abs(d) > tol {
			t.Errorf("%s: %d of %d, want %.0f ± %.0f", c.what, c.got, n/2, n/2*c.p, tol)
		}
	}
}

func TestTicTacToeSolverNeverLoses(t *testing.T) {
	task := newTicTacToe(Options{})
	for _, opponent := range task.Opponents() {
		s := mustScore(t, task, SolverPlayer(task), ScoreOptions{Opponent: opponent, Seed: 2})
		if s.Loss != 0 || s.Games == 0 || s.OwnLegal != 1 || s.Exhaustive != (opponent == "exhaustive") {
			t.Errorf("solver %v", s)
		}
		if opponent == "perfect" && s.Draw != DefaultGames {
			t.Errorf("perfect against perfect: %v", s)
		}
		if s.Win+s.Draw+s.Loss != s.Games || s.First.Games+s.Second.Games != s.Games {
			t.Errorf("%s: the counts do not add up: %+v", opponent, s)
		}
	}
	s := mustScore(t, task, RandomPlayer(1), ScoreOptions{Opponent: "perfect"})
	if s.Win != 0 || s.Loss < DefaultGames/2 {
		t.Errorf("random against perfect: %v", s)
	}
}

// playerFunc makes a player of a function that picks an index from legal.
type playerFunc func(prompt string, legal []string) Choice

func (f playerFunc) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	for i := range prompts {
		out[i] = f(prompts[i], legal[i])
	}
	return out, nil
}

// The exhaustive score must find the one reply that beats a player, however
// rare, and count every line: checked against a plain recursion.
func TestExhaustiveCountsEveryLine(t *testing.T) {
	task := newTicTacToe(Options{})
	last := playerFunc(func(_ string, legal []string) Choice {
		return Choice{Answer: legal[len(legal)-1], OwnLegal: true}
	})
	var count func(b board3, playerTurn bool) Record
	count = func(b board3, playerTurn bool) Record {
		if o := b.over(); o != ongoing {
			return (&match[board3]{playerTurn: playerTurn}).record(o)
		}
		legal := answers3(b.empty())
		if playerTurn {
			legal = legal[len(legal)-1:]
		}
		var sum Record
		for _, a := range legal {
			sum.add(count(b.play(int(a[0]-'0')), !playerTurn))
		}
		return sum
	}
	s := mustScore(t, task, last, ScoreOptions{Opponent: "exhaustive"})
	if s.First != count(board3{}, true) || s.Second != count(board3{}, false) || s.Loss == 0 {
		t.Errorf("%+v, want %+v and %+v", s, count(board3{}, true), count(board3{}, false))
	}

	// A player that errs in one position only: after 4, 0, 8 the edges lose.
	solver := SolverPlayer(task)
	errs := playerFunc(func(prompt string, legal []string) Choice {
		if prompt == "A123e567i=" {
			return Choice{Answer: "1", OwnLegal: true}
		}
		c, err := solver.Choose([]string{prompt}, [][]string{legal})
		if err != nil {
			t.Error(err)
		}
		return c[0]
	})
	if s := mustScore(t, task, errs, ScoreOptions{Opponent: "exhaustive"}); s.Loss == 0 || s.First.Loss != 0 {
		t.Errorf("one wrong reply as second player: %+v", s)
	}
}

func TestConnect4Scores(t *testing.T) {
	task, err := newConnect4(Options{Depth: 4})
	if err != nil {
		t.Fatal(err)
	}
	if got := task.Opponents(); !slices.Equal(got, []string{"random", "depth-4"}) {
		t.Errorf("opponents %v", got)
	}
	s := mustScore(t, task, SolverPlayer(task), ScoreOptions{Games: 100})
	if s.Win < 98 {
		t.Errorf("depth 4 against random: %v", s)
	}
	s = mustScore(t, task, RandomPlayer(3), ScoreOptions{Games: 100, Opponent: "depth-2"})
	if s.Win > 5 || s.Opponent != "depth-2" {
		t.Errorf("random against depth 2: %v", s)
	}
	s = mustScore(t, task, RandomPlayer(3), ScoreOptions{Games: 2000})
	if s.First.Win <= s.Second.Win || s.First.Loss >= s.Second.Loss {
		t.Errorf("random against random: the first player should do better: %+v", s)
	}
}

func TestScoreIsDeterministic(t *testing.T) {
	for _, task := range small(t) {
		for _, opponent := range append(task.Opponents(), "") {
			o := ScoreOptions{Games: 40, Opponent: opponent, Seed: 5}
			a := mustScore(t, task, RandomPlayer(1), o)
			threads := runtime.GOMAXPROCS(1)
			b := mustScore(t, task, RandomPlayer(1), o)
			runtime.GOMAXPROCS(threads)
			if a != b {
				t.Errorf("%s: %+v and %+v", task.Name(), a, b)
			}
		}
	}
	task := newTicTacToe(Options{})
	first := playerFunc(func(_ string, legal []string) Choice { return Choice{Answer: legal[0], OwnLegal: true} })
	a := mustScore(t, task, first, ScoreOptions{Games: 500, Seed: 5})
	b := mustScore(t, task, first, ScoreOptions{Games: 500, Seed: 6})
	if a.Record == b.Record {
		t.Error("two seeds give the same games")
	}
}

func TestOwnLegalShare(t *testing.T) {
	n := 0
	p := playerFunc(func(_ string, legal []string) Choice {
		n++
		return Choice{Answer: legal[0], OwnLegal: n%4 != 0}
	})
	s := mustScore(t, newTicTacToe(Options{}), p, ScoreOptions{Games: 100})
	if want := float64(n-n/4) / float64(n); s.OwnLegal != want || s.Decisions != n {
		t.Errorf("own legal %v over %d decisions, want %v over %d", s.OwnLegal, s.Decisions, want, n)
	}
}

func TestScoreJSON(t *testing.T) {
	for _, c := range []struct {
		task Task
		keys []string
	}{
		{newTicTacToe(Options{}), []string{"games", "win", "draw", "loss", "opponent", "own_legal", "win_interval", "loss_interval"}},
		{newPuzzle8(Options{}), []string{"boards", "solved", "own_legal", "solved_interval"}},
		{must(newLottery(Options{})), []string{"boards", "solved", "own_legal", "solved_interval", "chance"}},
	} {
		s := mustScore(t, c.task, SolverPlayer(c.task), ScoreOptions{Games: 20})
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		for _, k := range c.keys {
			if _, ok := fields[k]; !ok {
				t.Errorf("%s: no field %q in %s", c.task.Name(), k, b)
			}
		}
		for _, other := range []string{"games", "boards"} {
			if _, ok := fields[other]; ok && other != c.keys[0] {
				t.Errorf("%s: field %q does not belong in %s", c.task.Name(), other, b)
			}
		}
		var back Score
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Errorf("read back %+v, %v; want %+v", back, err, s)
		}
	}
	// zero counts are written, not left out
	b, err := json.Marshal(Score{Opponent: "random"})
	if err != nil {
		t.Fatal(err)
	}
	var zero map[string]any
	if err := json.Unmarshal(b, &zero); err != nil || zero["loss"] != 0. {
		t.Errorf("%s: %v", b, err)
	}
}

func TestProgress(t *testing.T) {
	for _, task := range small(t) {
		last, total := -1, 0
		mustScore(t, task, RandomPlayer(1), ScoreOptions{Games: 30, Progress: func(d, n int) {
			if d < last {
				t.Errorf("%s: progress went back from %d to %d", task.Name(), last, d)
			}
			last, total = d, n
		}})
		if last != 30 || total != 30 {
			t.Errorf("%s: progress ended at %d of %d", task.Name(), last, total)
		}
	}
}

func TestScoreErrors(t *testing.T) {
	illegal := playerFunc(func(string, []string) Choice { return Choice{Answer: "?"} })
	broken := errors.New("out of paper")
	for _, task := range small(t) {
		var pe *PlayerError
		if _, err := task.Score(t.Context(), illegal, ScoreOptions{}); !errors.As(err, &pe) {
			t.Errorf("%s: illegal answer: %v", task.Name(), err)
		}
		if _, err := task.Score(t.Context(), chooseFunc(func() ([]Choice, error) { return nil, nil }), ScoreOptions{}); !errors.As(err, &pe) {
			t.Errorf("%s: no answers: %v", task.Name(), err)
		}
		failing := chooseFunc(func() ([]Choice, error) { return nil, broken })
		if _, err := task.Score(t.Context(), failing, ScoreOptions{}); !errors.Is(err, broken) {
			t.Errorf("%s: failing player: %v", task.Name(), err)
		}
		var oe *OpponentError
		if _, err := task.Score(t.Context(), RandomPlayer(1), ScoreOptions{Opponent: "kasparov"}); !errors.As(err, &oe) {
			t.Errorf("%s: unknown opponent: %v", task.Name(), err)
		}
		var opt *OptionError
		if _, err := task.Score(t.Context(), RandomPlayer(1), ScoreOptions{Games: -1}); !errors.As(err, &opt) {
			t.Errorf("%s: negative games: %v", task.Name(), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s, err := task.Score(ctx, RandomPlayer(1), ScoreOptions{}); !errors.Is(err, context.Canceled) || !reflect.DeepEqual(s, Score{}) {
			t.Errorf("%s: cancelled: %v, %v", task.Name(), s, err)
		}
	}
	c4, err := newConnect4(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var oe *OpponentError
	for _, name := range []string{"perfect", "depth-0", "depth-17", "depth-", "depth-08", "depth-4x"} {
		if _, err := c4.Score(t.Context(), RandomPlayer(1), ScoreOptions{Games: 1, Opponent: name}); !errors.As(err, &oe) {
			t.Errorf("connect4 opponent %q: %v", name, err)
		}
	}
}

type chooseFunc func() ([]Choice, error)

func (f chooseFunc) Choose([]string, [][]string) ([]Choice, error) { return f() }
