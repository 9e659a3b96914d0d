package pipeline

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"mito/engine/decode"
	"mito/engine/report"
	"mito/engine/task"
)

// What a report shows: games against every opponent, and how long a text is and how it is drawn.
const (
	shownGames   = 2
	shownAnswers = 8
	shownPrompt  = 32 // bytes at most
	shownTokens  = 240
	shownHeat    = 0.8
)

// show puts a game, or an answer that is a text, into the report.
func (j *job) show(model string, c contest, g task.Game) {
	if !task.Ends(j.w.Task) {
		j.r.Replays = append(j.r.Replays, shown(j.w.Name, model, c, g))
		return
	}
	f := g.Frames[0]
	j.r.Samples = append(j.r.Samples, report.Sample{Name: model, Prompt: f.Prompt, Text: f.Move, How: "held out, " + g.Result})
}

// shown is a game as the report's board shows it.
func shown(taskName, model string, c contest, g task.Game) report.Replay {
	r := report.Replay{Name: fmt.Sprintf("%s, a board: %s", model, g.Result)}
	if c.player != "" {
		r.Name = fmt.Sprintf("%s by %s, a board: %s", model, c.player, g.Result)
	}
	if c.opponent != "" {
		seat := "second"
		if g.First {
			seat = "first"
		}
		r.Name = fmt.Sprintf("%s against %s, moving %s: %s", model, c.opponent, seat, g.Result)
	}
	for _, f := range g.Frames {
		frame := report.Frame{Cells: f.Prompt, Move: f.Move}
		mine, theirs := "x", "o"
		if f.Move != "" {
			frame.By = "model"
		}
		if !f.Player {
			mine, theirs = theirs, mine
			if f.Move != "" {
				frame.By = "opponent"
			}
		}
		if cells, cols, ok := task.Cells(taskName, f.Prompt); ok {
			r.Cols = cols
			frame.Cells = strings.NewReplacer("+", mine, "-", theirs).Replace(cells)
		}
		r.Frames = append(r.Frames, frame)
	}
	return r
}

// sample lets a model go on with the beginning of a text that is held out; a workload that is no text has none.
func (j *job) sample(ctx context.Context, name string, rt decode.Runtime) error {
	prompt := j.w.Opening(shownPrompt)
	if prompt == "" {
		return nil
	}
	g, err := decode.NewGenerator(rt, decode.GeneratorOptions{})
	if err != nil {
		return err
	}
	text, err := g.Generate(ctx, prompt, decode.GenerateOptions{
		Sampling: decode.Sampling{Temperature: shownHeat, Seed: j.Seed}, MaxTokens: shownTokens, Slide: true, IgnoreEOS: true,
	})
	if err != nil {
		return err
	}
	j.r.Samples = append(j.r.Samples, report.Sample{
		Name: name, Prompt: prompt, Text: text.Text, How: fmt.Sprintf("temperature %g, seed %d, %d tokens", shownHeat, j.Seed, len(text.Tokens)),
	})
	return nil
}

// Opening is the first whole characters, n bytes at most, of the text that is held out; "" of a workload that is no text.
func (w *Workload) Opening(n int) string {
	text := w.held.Text
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
