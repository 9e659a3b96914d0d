package pipeline

import (
	"context"
	"fmt"

	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/report"
	"mito/engine/task"
)

// contest is one score: an opponent of a game, or a way to play a puzzle.
type contest struct{ opponent, player string }

// contests lists whom the models play, or how they play a puzzle.
func (j *job) contests() (list []contest) {
	if t, ok := j.w.Task.(interface{ Players() []string }); ok {
		for _, name := range t.Players() {
			list = append(list, contest{player: name})
		}
		return list
	}
	opponents := j.Preset.Opponents
	if opponents == nil {
		opponents = j.w.Task.Opponents()
	}
	for _, name := range opponents {
		list = append(list, contest{opponent: name})
	}
	if list == nil {
		list = []contest{{}}
	}
	return list
}

// NewPlayer returns a player of a task by a model.
func NewPlayer(ctx context.Context, r decode.Runtime, t task.Task) (task.Player, error) {
	if task.Ends(t) {
		return eval.NewWriter(ctx, r, evalRows)
	}
	return eval.NewPlayer(ctx, r, evalRows)
}

// play scores a player in every contest.
func (j *job) play(ctx context.Context, name string, player task.Player, m *report.Model, contests []contest) error {
	return stage(j.p, "playing: "+name, len(contests)*j.Preset.Games, func() (string, error) {
		for i, c := range contests {
			keep := 0
			if name == CompressedDir {
				keep = shownGames
				if task.Ends(j.w.Task) {
					keep = shownAnswers
				}
			}
			s, err := j.w.Task.Score(ctx, player, task.ScoreOptions{
				Games: j.Preset.Games, Opponent: c.opponent, Player: c.player, Seed: j.Seed, Split: j.judges, Marker: j.Scorer, Keep: keep,
				Kept: func(g task.Game) { j.show(name, c, g) },
				// An opponent that plays a number of its own must not run beyond the stage's.
				Progress: func(done, _ int) { j.p.Update(i*j.Preset.Games+min(done, j.Preset.Games), "") },
			})
			if err != nil {
				return "", err
			}
			what, text := scoreWords(s)
			if err := m.AddScore(what, text, s); err != nil {
				return "", err
			}
		}
		return "done", nil
	})
}

// scoreWords says what was scored, and the score in a few words with its 95% interval.
func scoreWords(s task.Score) (what, text string) {
	if s.Exact != nil {
		return "held-out prompts answered exactly", s.Exact.Words()
	}
	if s.Opponent == "" {
		iv := s.SolvedInterval()
		if what = s.Split.Words() + "boards solved"; s.Player != "" {
			what += ", " + s.Player
		}
		text = fmt.Sprintf("%d of %d (95%% %.1f-%.1f%%)", s.Solved, s.Boards, 100*iv[0], 100*iv[1])
		if s.LengthRatio > 0 {
			text += fmt.Sprintf(", median length %.2f of the shortest", s.LengthRatio)
		}
		if s.Chance > 0 {
			text += "; " + s.ChanceWords()
		}
		return what, fmt.Sprintf("%s, %s", text, s.OwnWords())
	}
	what = fmt.Sprintf("against %s, won/drawn/lost", s.Opponent)
	if s.Exhaustive {
		return what, fmt.Sprintf("%d/%d/%d of all %d, %s", s.Win, s.Draw, s.Loss, s.Games, s.OwnWords())
	}
	iv := s.LossInterval()
	return what, fmt.Sprintf("%d/%d/%d of %d (95%% lost %.1f-%.1f%%), %s",
		s.Win, s.Draw, s.Loss, s.Games, 100*iv[0], 100*iv[1], s.OwnWords())
}

// baseline puts random moves beside the models, so that a score can be judged.
func (j *job) baseline(ctx context.Context) error {
	if j.w.Task == nil {
		return nil
	}
	name, player := "random moves", task.RandomPlayer(j.Seed+1)
	if exact, ok := j.w.Task.(*task.Exact); ok {
		name, player = "the commonest answer", exact.Commonest()
	}
	row := report.Row{Name: name, TokensPerSecond: report.NotMeasured, Note: "the baseline",
		Model: report.Model{LossNats: report.NotMeasured, BitsPerByte: report.NotMeasured}}
	if err := j.play(ctx, row.Name, player, &row.Model, j.contests()[:1]); err != nil {
		return err
	}
	j.r.Rows = append(j.r.Rows, row)
	return nil
}
