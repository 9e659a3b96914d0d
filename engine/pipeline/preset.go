package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/task"
	"mito/engine/train"
)

// Shape is a model preset: everything of a configuration but vocabulary and context.
type Shape struct {
	Name, About string
	Config      arch.Config
}

// At completes a shape.
func (s Shape) At(vocab, context int) arch.Config {
	c := s.Config
	c.VocabSize, c.Context = vocab, context
	return c
}

func edge(name, about string, layers, width, mlp, heads, kvHeads int, qkNorm bool) Shape {
	c := arch.Edge(1, 1, layers, width, heads, kvHeads)
	c.IntermediateSize, c.QKNorm = mlp, qkNorm
	return Shape{Name: name, About: about, Config: c}
}

// Shapes lists the model presets, smallest first.
func Shapes() []Shape {
	gpt := edge("gpt", "GPT-2's layers: LayerNorm, learned positions, GELU, biases", 4, 128, 512, 4, 4, false)
	gpt.Config.Norm, gpt.Config.Position, gpt.Config.Activation = arch.NormLayer, arch.PositionLearned, arch.ActGELU
	gpt.Config.AttentionBias, gpt.Config.MLPBias = true, true
	llama := edge("llama", "Llama's layers: RMSNorm, RoPE, GQA, SwiGLU, no biases, untied", 4, 128, 352, 4, 2, false)
	llama.Config.Activation, llama.Config.TieEmbeddings = arch.ActSwiGLU, false
	return []Shape{
		edge("pico", "13 K, for names and other short lines", 1, 32, 128, 4, 4, false),
		edge("pico2", "17 K, two layers: a game in 20 KB of weights", 2, 32, 80, 4, 2, true),
		edge("nano", "50 K: a game in 64 KiB of a microcontroller's flash, with its runtime", 2, 64, 96, 4, 2, true),
		edge("micro", "60 K: 66 KB of INT8 weights at a vocabulary of 64; no room for the runtime in 64 KiB", 2, 64, 128, 4, 2, true),
		edge("wide", "90 K: for the moves of a board", 2, 64, 224, 4, 2, true),
		edge("deep", "62 K and its vocabulary: for what takes several steps of thought", 3, 64, 64, 4, 2, true),
		edge("puzzle", "98 K: for boards that are many moves from their goal", 2, 64, 256, 4, 2, true),
		edge("board", "320 K: for games in the order of play", 4, 96, 256, 4, 2, false),
		edge("mini", "350 K", 3, 128, 256, 8, 4, true),
		edge("edge", "460 K class: the size of MicroGPT-C", 4, 96, 384, 4, 4, false),
		edge("char", "0.8 M: nanoGPT's CPU recipe for characters", 4, 128, 512, 4, 4, true),
		gpt, llama,
		edge("tutor", "2.7 M: a teacher for text on a CPU", 6, 192, 768, 6, 6, true),
		edge("base", "7 M: a teacher for text", 4, 384, 1536, 6, 6, true),
	}
}

// ShapeOf finds a model preset.
func ShapeOf(name string) (Shape, error) {
	return find("model preset", Shapes(), name, func(s Shape) string { return s.Name })
}

// Stage is the fitting of one model of a pipeline.
type Stage struct {
	Shape string        `json:"model"`
	Rows  int           `json:"batch"` // sequences
	Init  model.Init    `json:"init"`
	Train train.Options `json:"train"`
}

// Preset is a whole pipeline for a workload.
type Preset struct {
	Name, About string
	For         string // a task's name, "examples", "list" or "text"

	Task task.Options
	Text TextOptions

	// ShipAll trains what ships on all positions, test positions too, because all positions of the game can be
	// listed; the held-out loss then comes from a student trained without them.
	ShipAll   bool
	Games     int      // of each score
	Opponents []string // nil for the task's own
	Teacher   Stage    // without a Shape there is none: the labels of the data teach
	Student   Stage
	Distill   distill.Options
}

// Presets lists the pipelines, the default of each workload first.
func Presets() []Preset {
	game, text := RecipeOf("task"), RecipeOf("text")
	stage := game.stage
	games := game.Distill
	games.Alpha = 0.1
	// Where the solver labels as many positions as a student can take in, its labels teach most of what there is.
	solver := game.Distill
	solver.Alpha = 0.9
	// What is counted of a text is its likelihood, at a temperature of one.
	likely := text.Distill
	likely.Temperature = 1
	standard := func(shape string, rows, steps int) Stage {
		s := stage(shape, rows, steps, game.Train.LR)
		s.Train.Labels = train.Shared
		return s
	}
	// A game's solver knows every right move of a position. The teacher learns from all of them at once; its student
	// sees one drawn move and what the teacher makes of the others.
	shared := func(s Stage) Stage {
		s.Train.Labels = train.Shared
		return s
	}
	rows := func(o TextOptions, context int) TextOptions {
		o.Context = context
		return o
	}
	falling := func(s Stage, share float64) Stage {
		s.Train.Decay = share
		return s
	}
	return []Preset{
		{
			Name: "default", For: "tictactoe", About: "a 60 K student that never loses",
			ShipAll: true, Games: 1000,
			Teacher: shared(stage("mini", game.Rows, 300, 0.01)), Student: stage("micro", game.Rows, 500, 0.01), Distill: games,
		},
		{
			Name: "device", For: "tictactoe", About: "a 51 K student that never loses, in 64 KiB of flash and 4 KiB of RAM",
			ShipAll: true, Games: 1000,
			Teacher: shared(stage("mini", game.Rows, 300, 0.01)), Student: stage("nano", game.Rows, 700, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "tictactoe", About: "a fifth of the steps, to try things",
			ShipAll: true, Games: 200,
			Teacher: shared(stage("mini", game.Rows, 60, 0.01)), Student: stage("micro", game.Rows, 100, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "connect4", About: "20,000 positions labelled 8 plies deep, a short run",
			Task: task.Quick(1), Games: 200, Opponents: []string{"random", "depth-2", "depth-4", "depth-8"},
			Teacher: shared(stage("mini", 64, 400, 0.01)), Student: stage("micro", 64, 600, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "puzzle8", About: "20,000 boards of 181,440, a short run",
			Task: task.Quick(1), Games: 200,
			Teacher: shared(stage("mini", game.Rows, 300, 0.01)), Student: stage("micro", game.Rows, 500, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "commands", About: "20,000 prompts, a short run, no teacher",
			Task: task.Quick(1), Games: 1000,
			Student: stage("micro", 64, 700, 0.005), Distill: game.Distill,
		},
		{
			Name: "standard", For: "commands", About: "20,000 prompts, a 60 K student of 1,200 steps, no teacher",
			Task: task.Quick(1), Games: 2000,
			Student: stage("micro", 64, 1200, 0.005), Distill: game.Distill,
		},
		{
			Name: "default", For: "examples", About: "a file of prompts and right answers, as commands",
			Games:   1000,
			Student: stage("micro", 64, 1200, 0.005), Distill: game.Distill,
		},
		{
			Name: "quick", For: "examples", About: "a file of prompts and right answers, a short run, to try things",
			Games:   1000,
			Student: stage("micro", 64, 700, 0.005), Distill: game.Distill,
		},
		{
			Name: "standard", For: "list", About: "one item a line, such as names; a student of 13 K",
			Teacher: stage("micro", 256, 600, 0.005), Student: stage("pico", 256, 2500, 0.005), Distill: game.Distill,
		},
		{
			Name: "quick", For: "list", About: "one item a line, a short run, to try things",
			Teacher: stage("micro", 256, 200, 0.005), Student: stage("pico", 256, 300, 0.005), Distill: game.Distill,
		},
		{
			Name: "quick", For: "othello", About: "20,000 positions labelled 4 plies deep, a short run",
			Task: task.Quick(1), Games: 200,
			Teacher: shared(stage("mini", 64, 200, 0.01)), Student: stage("wide", 64, 300, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "mastermind", About: "the 5,184 pegs of a breaker's games, a short run",
			ShipAll: true, Games: 200,
			Teacher: shared(stage("mini", 64, 100, 0.01)), Student: stage("deep", 64, 200, 0.01), Distill: games,
		},
		{
			Name: "quick", For: "lottery", About: "the negative control: nothing can be learnt",
			Task: task.Quick(1), Games: 1000,
			Teacher: shared(stage("micro", game.Rows, 60, 0.01)), Student: stage("micro", game.Rows, 100, 0.01), Distill: games,
		},
		{
			Name: "standard", For: "connect4", About: "300,000 positions labelled 8 plies deep, in the order of play; a 96 K student, no teacher",
			Task: task.Options{Positions: 300_000, Format: task.FormatMoves, Seed: 1}, Games: 1000, Opponents: []string{"random", "depth-2", "depth-4"},
			Student: standard("puzzle", 64, 3500), Distill: solver,
		},
		{
			Name: "standard", For: "puzzle8", About: "every board, with the moves left before the move; a 98 K student, no teacher",
			Task: task.Options{Format: task.FormatDistance, Seed: 1}, Games: 1000,
			Student: standard("puzzle", 512, 2000), Distill: solver,
		},
		{
			Name: "standard", For: "othello", About: "100,000 positions labelled 4 plies deep; a 90 K student, no teacher",
			Task: task.Options{Positions: 100_000, Seed: 1}, Games: 1000,
			Student: standard("wide", 128, 1500), Distill: solver,
		},
		{
			Name: "standard", For: "mastermind", About: "the 5,184 pegs of a breaker's games; an 85 K student, no teacher",
			ShipAll: true, Games: 1000,
			Student: falling(standard("deep", 64, 500), 0.5), Distill: solver,
		},
		{
			Name: "standard", For: "tictactoe", About: "a 17 K student, 20 KB of weights, that lost no game at seed 1, no teacher",
			ShipAll: true, Games: 1000,
			Student: shared(stage("pico2", game.Rows, 2000, 0.01)), Distill: games,
		},
		{
			Name: "default", For: "text", About: "characters, nanoGPT's CPU recipe: 2,000 steps of 12x64",
			Text:    text.Text,
			Teacher: text.stage("base", text.Rows, 2000, text.Train.LR), Student: text.stage("char", text.Rows, 2000, text.Train.LR), Distill: text.Distill,
		},
		{
			Name: "standard", For: "text", About: "characters, 460 K: rows of 128, 2,200 steps of 24 of them, by a teacher of 0.8 M",
			Text:    rows(text.Text, 128),
			Teacher: text.stage("char", 24, 1800, text.Train.LR), Student: text.stage("edge", 24, 2200, text.Train.LR), Distill: likely,
		},
		{
			Name: "quick", For: "text", About: "characters, 200 steps, to try things",
			Text:    text.Text,
			Teacher: text.stage("char", text.Rows, 200, text.Train.LR), Student: text.stage("micro", text.Rows, 200, text.Train.LR), Distill: text.Distill,
		},
	}
}

// PresetOf finds a pipeline for a workload: a task's name, or "text". name "" takes the first.
func PresetOf(workload, name string) (Preset, error) {
	var known []Preset
	for _, p := range Presets() {
		if p.For == workload {
			known = append(known, p)
		}
	}
	if name == "" && len(known) > 0 {
		return known[0], nil
	}
	return find("preset for "+workload, known, name, func(p Preset) string { return p.Name })
}

// UnknownError reports a name that is not in a list.
type UnknownError struct {
	What, Name string
	Known      []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown %s %q; known: %s", e.What, e.Name, strings.Join(e.Known, ", "))
}

func find[T any](what string, list []T, name string, nameOf func(T) string) (T, error) {
	i := slices.IndexFunc(list, func(v T) bool { return nameOf(v) == name })
	if i >= 0 {
		return list[i], nil
	}
	var none T
	e := &UnknownError{What: what, Name: name}
	for _, v := range list {
		e.Known = append(e.Known, nameOf(v))
	}
	return none, e
}
