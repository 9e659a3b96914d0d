package pipeline

import (
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/train"
)

// Recipe is how models are made where nobody says otherwise. The flags of the commands have its values as their defaults,
// and the presets of the pipelines are made of it.
type Recipe struct {
	For     string          `json:"for"` // "task" or "text"
	Teacher string          `json:"teacher"`
	Student string          `json:"student"` // model presets
	Rows    int             `json:"batch"`   // sequences
	Init    model.Init      `json:"init"`
	Train   train.Options   `json:"train"`
	Distill distill.Options `json:"distill"`
	Text    TextOptions     `json:"text"` // for a text
}

// Recipes lists the recipes: that of the tasks and that of texts. They train with the same options, so that a flag has one
// default.
func Recipes() []Recipe {
	r := Recipe{
		For: "task", Teacher: "mini", Student: "micro", Rows: 256,
		// Fan-in as in the Muon recipe, and residual branches that begin at zero.
		Init:  model.Init{Std: 0.02, FanIn: 0.57, ResidualZero: true},
		Train: train.Defaults(), Distill: distill.Defaults(), Text: TextOptions{Context: 64, HeldOut: 0.1},
	}
	text := r
	text.For, text.Rows = "text", 12
	return []Recipe{r, text}
}

// RecipeOf finds the recipe of a workload: a task's name, or "text".
func RecipeOf(workload string) Recipe {
	list := Recipes()
	if workload == list[1].For {
		return list[1]
	}
	return list[0]
}

// stage is the fitting of one model by the recipe, with the sizes of a preset.
func (r Recipe) stage(shape string, rows, steps int, lr float64) Stage {
	s := Stage{Shape: shape, Rows: rows, Init: r.Init, Train: r.Train}
	s.Train.Steps, s.Train.LR = steps, lr
	return s
}
