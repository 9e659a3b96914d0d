package task

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// DefaultGames is the number of games or boards of a score when
// ScoreOptions.Games is 0.
const DefaultGames = 1000

// ScoreOptions sets how a player is scored. The zero value is 1,000 games
// against the task's random opponent.
type ScoreOptions struct {
	// Games is the number of games or boards, 0 for DefaultGames. The player
	// moves first in games 0, 2, 4, …
	Games int
	// Opponent is one of Task.Opponents, "" for the first of them.
	Opponent string
	// Seed seeds the opponent's moves or the boards.
	Seed uint64
	// Player is one of the ways to play that a puzzle lists as its Players, "" for
	// the first.
	Player string
	// MoveLimit is the number of moves after which a puzzle counts as
	// unsolved, 0 for the task's default.
	MoveLimit int
	// Kept is called from Score's goroutine with the moves of the first Keep
	// games or boards, each as it ends. An exhaustive opponent keeps none.
	Keep int
	Kept func(Game)
	// Split is whose prompts an Exact task asks, "" for Test, and whose boards
	// puzzle8 begins with, "" for All; others take no notice of it.
	Split Split
	// Marker, if not nil, marks the answers of an Exact task; others take no notice of it.
	Marker Marker
	// Progress, if not nil, is called from Score's goroutine as games end.
	Progress func(done, total int)
}

// withDefaults fills in what is left out, for a task with several ways to play or with one.
func (o ScoreOptions) withDefaults(task string, players ...string) (ScoreOptions, error) {
	if o.Player == "" && len(players) > 0 {
		o.Player = players[0]
	}
	if o.Player != "" && !slices.Contains(players, o.Player) {
		return o, &PlayerNameError{Task: task, Player: o.Player, Known: players}
	}
	if o.Games < 0 {
		return o, &OptionError{Task: task, Option: "games", Got: o.Games, Want: "0 for the default, or a positive number"}
	}
	if o.MoveLimit < 0 {
		return o, &OptionError{Task: task, Option: "move limit", Got: o.MoveLimit, Want: "0 for the default, or a positive number"}
	}
	if o.Games == 0 {
		o.Games = DefaultGames
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	return o, nil
}

// Record counts the results of some games from the player's side.
type Record struct {
	Games int `json:"games"`
	Win   int `json:"win"`
	Draw  int `json:"draw"`
	Loss  int `json:"loss"`
}

func (r *Record) add(o Record) {
	r.Games += o.Games
	r.Win += o.Win
	r.Draw += o.Draw
	r.Loss += o.Loss
}

// Score is the result of Task.Score: games if Opponent is set, else boards.
// As JSON it is one flat object of the kind that applies, with the 95%
// intervals beside the counts.
type Score struct {
	Record          // over both seats
	First    Record // games in which the player moved first
	Second   Record // games in which the opponent did
	Opponent string
	// Exhaustive says that the games are all that the opponent could have made
	// of it, rather than a sample.
	Exhaustive bool

	Boards    int   // puzzle boards, at random
	Split     Split // whose boards they are, "" where the task does not say
	Solved    int   // boards solved within MoveLimit moves
	MoveLimit int
	Player    string // how the model played
	// LengthRatio is the median over the solved boards of the moves played by the
	// least number of moves; 0 where that is not known.
	LengthRatio float64
	// Chance is the share that guessing solves, where nothing can be learnt; else 0.
	Chance float64

	Decisions int     // prompts that the player answered
	OwnLegal  float64 // share of Decisions whose own first choice was legal, and of PlayerPolicyOnce no repeat either
	Seed      uint64

	Exact *ExactScore // of a task with texts as answers; nil for games and boards
}

// Interval is a range of shares, both ends in [0, 1].
type Interval [2]float64

// Wilson returns the Wilson score interval at 95% for k successes in n trials
// (Wilson, JASA 22, 1927). It is [0, 1] when n is 0.
//
//	(p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n),  p = k/n, z = 1.96
func Wilson(k, n int) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	const z = 1.959963984540054 // the normal distribution's 97.5% quantile
	nf := float64(n)
	p := float64(k) / nf
	centre := p + z*z/(2*nf)
	half := z * math.Sqrt(p*(1-p)/nf+z*z/(4*nf*nf))
	scale := 1 + z*z/nf
	iv := Interval{max(0, (centre-half)/scale), min(1, (centre+half)/scale)}
	// The formula gives these ends exactly; rounding must not move them.
	if k == 0 {
		iv[0] = 0
	}
	if k == n {
		iv[1] = 1
	}
	return iv
}

// interval is Wilson's for a sample and the share itself for a full count.
func (s Score) interval(k, n int) Interval {
	if s.Exhaustive && n > 0 {
		share := float64(k) / float64(n)
		return Interval{share, share}
	}
	return Wilson(k, n)
}

// WinInterval returns the 95% interval of the share of games won.
func (s Score) WinInterval() Interval { return s.interval(s.Win, s.Games) }

// DrawInterval returns the 95% interval of the share of games drawn.
func (s Score) DrawInterval() Interval { return s.interval(s.Draw, s.Games) }

// LossInterval returns the 95% interval of the share of games lost.
func (s Score) LossInterval() Interval { return s.interval(s.Loss, s.Games) }

// SolvedInterval returns the 95% interval of the share of boards solved.
func (s Score) SolvedInterval() Interval { return s.interval(s.Solved, s.Boards) }

// ByChance says whether guessing alone may have solved what was solved.
func (s Score) ByChance() bool {
	iv := s.SolvedInterval()
	return iv[0] <= s.Chance && s.Chance <= iv[1]
}

// ChanceWords says what chance alone solves, where nothing can be learnt.
func (s Score) ChanceWords() string {
	if s.ByChance() {
		return fmt.Sprintf("chance alone solves %.1f%%, which is inside the interval: nothing was learnt", 100*s.Chance)
	}
	return fmt.Sprintf("chance alone solves %.1f%%, which is outside the interval: the measurement is wrong, or it was a rare chance", 100*s.Chance)
}

// OwnWords says how often the player's own first choice could be played. A player without repeats plays no move to where it has been,
// which the rules would allow.
func (s Score) OwnWords() string {
	what := "legal"
	if s.Player == PlayerPolicyOnce {
		what = "legal and no repeat"
	}
	return fmt.Sprintf("own choice %s %.1f%%", what, 100*s.OwnLegal)
}

// String returns the score in one line for people.
func (s Score) String() string {
	if s.Exact != nil {
		return s.Exact.String()
	}
	if s.Opponent == "" {
		iv := s.SolvedInterval()
		text := fmt.Sprintf("%d of %d %sboards solved within %d moves (%.1f%%, 95%% interval %.1f-%.1f%%), %s",
			s.Solved, s.Boards, s.Split.Words(), s.MoveLimit, percent(s.Solved, s.Boards), 100*iv[0], 100*iv[1], s.OwnWords())
		if s.LengthRatio > 0 {
			text += fmt.Sprintf(", median length %.2f of the shortest", s.LengthRatio)
		}
		if s.Chance > 0 {
			text += "; " + s.ChanceWords()
		}
		if s.Player != "" {
			text = s.Player + ": " + text
		}
		return text
	}
	if s.Exhaustive {
		return fmt.Sprintf("against %s: all %d games: %d won, %d drawn, %d lost, %s",
			s.Opponent, s.Games, s.Win, s.Draw, s.Loss, s.OwnWords())
	}
	w, l := s.WinInterval(), s.LossInterval()
	return fmt.Sprintf("against %s: %d games: %d won (95%% interval %.1f-%.1f%%), %d drawn, %d lost (%.1f-%.1f%%), %s",
		s.Opponent, s.Games, s.Win, 100*w[0], 100*w[1], s.Draw, s.Loss, 100*l[0], 100*l[1], s.OwnWords())
}

func percent(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return 100 * float64(k) / float64(n)
}

type gamesJSON struct {
	Record
	Opponent     string   `json:"opponent"`
	OwnLegal     float64  `json:"own_legal"`
	WinInterval  Interval `json:"win_interval"`
	DrawInterval Interval `json:"draw_interval"`
	LossInterval Interval `json:"loss_interval"`
	First        Record   `json:"first"`
	Second       Record   `json:"second"`
	Exhaustive   bool     `json:"exhaustive"`
	Decisions    int      `json:"decisions"`
	Seed         uint64   `json:"seed"`
}

type boardsJSON struct {
	Player         string   `json:"player,omitempty"`
	LengthRatio    float64  `json:"length_ratio,omitempty"`
	Chance         float64  `json:"chance,omitempty"`
	Boards         int      `json:"boards"`
	Split          Split    `json:"split,omitempty"`
	Solved         int      `json:"solved"`
	OwnLegal       float64  `json:"own_legal"`
	SolvedInterval Interval `json:"solved_interval"`
	MoveLimit      int      `json:"move_limit"`
	Decisions      int      `json:"decisions"`
	Seed           uint64   `json:"seed"`
}

// MarshalJSON writes {games, win, draw, loss, opponent, own_legal, …} for
// games, {boards, solved, own_legal, …} for puzzles and {prompts, exact, …} for
// texts.
func (s Score) MarshalJSON() ([]byte, error) {
	if s.Exact != nil {
		return json.Marshal(s.Exact)
	}
	if s.Opponent == "" {
		return json.Marshal(boardsJSON{s.Player, s.LengthRatio, s.Chance, s.Boards, s.Split, s.Solved, s.OwnLegal, s.SolvedInterval(), s.MoveLimit, s.Decisions, s.Seed})
	}
	return json.Marshal(gamesJSON{s.Record, s.Opponent, s.OwnLegal, s.WinInterval(), s.DrawInterval(), s.LossInterval(),
		s.First, s.Second, s.Exhaustive, s.Decisions, s.Seed})
}

// UnmarshalJSON reads what MarshalJSON wrote. The intervals follow from the
// counts and are not read.
func (s *Score) UnmarshalJSON(b []byte) error {
	var j struct {
		gamesJSON
		Player      string  `json:"player"`
		LengthRatio float64 `json:"length_ratio"`
		Chance      float64 `json:"chance"`
		Boards      int     `json:"boards"`
		Split       Split   `json:"split"`
		Solved      int     `json:"solved"`
		MoveLimit   int     `json:"move_limit"`
		Prompts     int     `json:"prompts"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("task: score: %w", err)
	}
	if j.Prompts > 0 {
		*s = Score{Exact: new(ExactScore), Decisions: j.Prompts}
		return json.Unmarshal(b, s.Exact)
	}
	*s = Score{Record: j.Record, First: j.First, Second: j.Second, Opponent: j.Opponent, Exhaustive: j.Exhaustive,
		Player: j.Player, LengthRatio: j.LengthRatio, Chance: j.Chance, Boards: j.Boards, Split: j.Split, Solved: j.Solved, MoveLimit: j.MoveLimit,
		Decisions: j.Decisions, OwnLegal: j.OwnLegal, Seed: j.Seed}
	return nil
}
