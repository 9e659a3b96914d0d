package bench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mito/backend"
	"mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/train"
)

// GPUModelOptions chooses what ModelGPU models.
type GPUModelOptions struct {
	Card      string // one of cuda.CardIDs
	Step      string // one of GPUSteps
	Optimizer string // train.AdamW or train.Muon
	Precision backend.Precision
}

// GPULaunch is one kind of launch of a modelled step.
type GPULaunch struct {
	Op     string  `json:"op"`     // operation of the backend
	Kernel string  `json:"kernel"` // or copy
	Shape  string  `json:"shape"`  // grid and sizes
	Count  int     `json:"count"`  // launches of this kind in the step
	GFLOP  float64 `json:"gflop"`  // of all of them
	MB     float64 `json:"mb"`     // 10⁶ bytes read and written, every operand once
	Micros float64 `json:"micros"` // modelled: the roofline time
	Limit  string  `json:"limit"`  // memory, tensor cores or float32
}

// GPUModel is a modelled training step. Every time in it is a limit by roofline, and nothing in it is measured.
type GPUModel struct {
	Modelled   bool        `json:"modelled"` // true: for readers that see one file
	Card       string      `json:"card"`
	Step       string      `json:"step"`
	Optimizer  string      `json:"optimizer"`
	Precision  string      `json:"precision"`
	Tokens     int         `json:"tokens"`
	Launches   int         `json:"launches"` // of kernels
	Copies     int         `json:"copies"`   // and clearings of memory
	Calls      int         `json:"calls"`    // that the host sends: a replayed recording counts as one
	GFLOP      float64     `json:"gflop"`
	GB         float64     `json:"gb"`
	Millis     float64     `json:"millis"`       // sum of the launches' roofline times
	TokensPerS float64     `json:"tokens_per_s"` // at most, at that time
	Kinds      []GPULaunch `json:"kinds"`
}

// The sizes of bench/peers/pytorch_gpu.py and of the benchmarks on a GPU.
const gpuVocab, gpuContext, gpuRows = 65, 256, 64

func gpuClass(name string) arch.Config {
	if name == "7M" {
		return arch.Edge(gpuVocab, gpuContext, 4, 384, 6, 6)
	}
	return arch.Edge(gpuVocab, gpuContext, 4, 96, 4, 4)
}

// GPUSteps are the steps that can be modelled: training of two classes, and of the smaller under a live teacher of the other.
func GPUSteps() []string { return []string{"7M", "460K", "7M-460K"} }

// UnknownCardError reports a card or a step that there is no model of.
type UnknownCardError struct {
	What, Name string
	Known      []string
}

func (e *UnknownCardError) Error() string {
	return fmt.Sprintf("bench: unknown %s %q; known: %s", e.What, e.Name, strings.Join(e.Known, ", "))
}

// ModelGPU records one training step as it would be sent to a card and adds up what its launches need at least. Nothing runs
// on a GPU and none is needed. Errors: *UnknownCardError.
func ModelGPU(o GPUModelOptions) (_ *GPUModel, err error) {
	card, ok := cuda.CardByID(o.Card)
	if !ok {
		return nil, &UnknownCardError{"card", o.Card, cuda.CardIDs()}
	}
	if !slices.Contains(GPUSteps(), o.Step) {
		return nil, &UnknownCardError{"step", o.Step, GPUSteps()}
	}
	if optimizers := []string{train.AdamW, train.Muon}; !slices.Contains(optimizers, o.Optimizer) {
		return nil, &UnknownCardError{"optimizer", o.Optimizer, optimizers}
	}
	b, paper, err := cuda.OpenPaper(card, backend.Options{Precision: o.Precision})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	notes, err := recordStep(b, paper, o)
	if err != nil {
		return nil, err
	}
	m := &GPUModel{
		Modelled: true, Card: card.Name, Step: o.Step, Optimizer: o.Optimizer, Precision: o.Precision.String(),
		Tokens: gpuRows * gpuContext,
	}
	if err := m.add(&card, notes); err != nil {
		return nil, err
	}
	return m, nil
}

// recordStep trains a few steps on paper and returns what the last one sent: the first compile and record.
func recordStep(b backend.Backend, paper *cuda.Paper, o GPUModelOptions) (notes []cuda.Note, err error) {
	var closers []func() error
	defer func() {
		for _, f := range slices.Backward(closers) {
			err = errors.Join(err, f())
		}
	}()
	build := func(class string, grads bool) (*model.Model, error) {
		m, err := model.New(b, gpuClass(class), grads)
		if err == nil {
			closers = append(closers, m.Close)
		}
		return m, err
	}
	source, err := data.NewText(make([]int32, 1<<16), gpuRows, gpuContext, 1)
	if err != nil {
		return nil, err
	}
	t := train.Defaults()
	t.Steps, t.Schedule, t.Optimizer, t.WeightDecay, t.ClipNorm = 1<<30, train.Constant, o.Optimizer, 0.1, 1
	class, teacher, distilled := strings.Cut(o.Step, "-")
	if distilled {
		class, teacher = teacher, class
	}
	m, err := build(class, true)
	if err != nil {
		return nil, err
	}
	var objective train.Objective
	if distilled {
		from, err := build(teacher, false)
		if err != nil {
			return nil, err
		}
		d, err := distill.New(m, train.NewLabels(b, source, t), []*model.Model{from}, nil, distill.Defaults())
		if err != nil {
			return nil, err
		}
		closers, objective = append(closers, d.Close), d
	}
	tr, err := train.New(m, source, objective, t)
	if err != nil {
		return nil, err
	}
	closers = append(closers, tr.Close)
	for range 3 {
		if err := b.Synchronize(); err != nil {
			return nil, err
		}
		paper.Take()
		if _, err := tr.Step(false); err != nil {
			return nil, err
		}
	}
	if err := b.Synchronize(); err != nil {
		return nil, err
	}
	return paper.Take(), nil
}

// add sums up the notes of a step, those of one kind and shape in one row, the longest first.
func (m *GPUModel) add(card *cuda.Card, notes []cuda.Note) error {
	rows := map[GPULaunch]*GPULaunch{} // by op, kernel and shape
	for i := range notes {
		n := &notes[i]
		cost, err := n.Cost()
		if err != nil {
			return err
		}
		key := GPULaunch{Op: n.Op, Kernel: n.Name(), Shape: n.Shape()}
		if n.Launches() {
			m.Launches++
		} else {
			m.Copies++
		}
		if !n.Replay || n.First {
			m.Calls++
		}
		row := rows[key]
		if row == nil {
			row = &GPULaunch{Op: key.Op, Kernel: key.Kernel, Shape: key.Shape, Limit: cost.Limit(card)}
			rows[key] = row
		}
		row.Count++
		row.GFLOP += (cost.Tensor + cost.Float32) / 1e9
		row.MB += cost.Bytes / 1e6
		row.Micros += 1e6 * cost.Seconds(card)
	}
	for _, row := range rows {
		m.Kinds = append(m.Kinds, *row)
		m.GFLOP += row.GFLOP
		m.GB += row.MB / 1e3
		m.Millis += row.Micros / 1e3
	}
	slices.SortFunc(m.Kinds, func(a, b GPULaunch) int {
		return cmp.Or(cmp.Compare(b.Micros, a.Micros), strings.Compare(a.Op+a.Kernel+a.Shape, b.Op+b.Kernel+b.Shape))
	})
	m.TokensPerS = float64(m.Tokens) / (m.Millis / 1e3)
	return nil
}
