package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mito/backend"
	"mito/bench"
	"mito/engine/pipeline"
)

type info struct {
	Version  string        `json:"version"`
	Platform string        `json:"platform"`
	Machine  bench.Machine `json:"machine"`
	Backends []backendInfo `json:"backends"`
	Models   []modelInfo   `json:"models"`
	Presets  []presetInfo  `json:"presets"`

	Recipes []pipeline.Recipe `json:"recipes"` // what train and distill do without flags; presets derive from them
}

type backendInfo struct {
	Name      string        `json:"name"`
	Available bool          `json:"available"`
	Reason    string        `json:"reason,omitempty"` // why it is not
	Info      *backend.Info `json:"info,omitempty"`
}

type modelInfo struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Params int64  `json:"params"` // with the vocabulary and context below
	Layers int    `json:"layers"`
	Width  int    `json:"width"`
	MLP    int    `json:"mlp"`
	Heads  int    `json:"heads"`
	KV     int    `json:"kv_heads"`
}

// The vocabulary and the context that parameters are counted with.
const infoVocab, infoContext = 64, 128

type presetInfo struct {
	For     string `json:"for"`
	Name    string `json:"name"`
	About   string `json:"about"`
	Teacher string `json:"teacher"` // "" for none
	Student string `json:"student"`
	Steps   [2]int `json:"steps"` // of teacher and student
}

func newInfo() *cobra.Command {
	var output outputFlags
	var model string
	cmd := &cobra.Command{
		Use:   "info",
		Short: "What this program and this machine have: backends, kernels, model and run presets",
		Long: `Tell what this program and this machine have: backends, kernels, model and run presets. With --model tell what a model takes:
the memory of its weights, and of the keys and values of texts; of an INT8 student also the flash, RAM and stack of microcontrollers.`,
		Example: "  mito info --model mito-out/tictactoe/compressed",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model != "" {
				m, err := gatherModel(cmd.Context(), model)
				if err != nil {
					return err
				}
				return output.print(cmd, m, m.print)
			}
			i, err := gather()
			if err != nil {
				return err
			}
			return output.print(cmd, i, i.print)
		},
	}
	output.register(cmd.Flags())
	cmd.Flags().StringVar(&model, "model", "", "folder of a model, float or INT8: tell its memory")
	return cmd
}

func gather() (*info, error) {
	i := &info{Version: programVersion(), Platform: platform(), Machine: bench.Describe()}
	for _, name := range []string{"cpu", "cuda"} {
		b, err := describeBackend(name)
		if err != nil {
			return nil, err
		}
		i.Backends = append(i.Backends, b)
	}
	for _, s := range pipeline.Shapes() {
		c := s.At(infoVocab, infoContext)
		i.Models = append(i.Models, modelInfo{
			Name: s.Name, About: s.About, Params: c.Params(), Layers: c.Layers, Width: c.HiddenSize, MLP: c.IntermediateSize,
			Heads: c.Heads, KV: c.KVHeads,
		})
	}
	for _, p := range pipeline.Presets() {
		i.Presets = append(i.Presets, presetInfo{
			For: p.For, Name: p.Name, About: p.About, Teacher: p.Teacher.Shape, Student: p.Student.Shape,
			Steps: [2]int{p.Teacher.Train.Steps, p.Student.Train.Steps},
		})
	}
	i.Recipes = pipeline.Recipes()
	return i, nil
}

// describeBackend opens a backend to see whether it is there.
func describeBackend(name string) (backendInfo, error) {
	if !known(name) {
		return backendInfo{Name: name, Reason: fmt.Sprintf("not in this program; build it with -tags %s", name)}, nil
	}
	b, _, err := backend.Open(name, backend.Options{})
	if err != nil {
		return backendInfo{Name: name, Reason: err.Error()}, nil
	}
	i := b.Info()
	return backendInfo{Name: name, Available: true, Info: &i}, b.Close()
}

func (i *info) print(w io.Writer) {
	m := i.Machine
	fmt.Fprintf(w, "mito %s, %s, %s\n", i.Version, m.Go, i.Platform)
	fmt.Fprintf(w, "%s, %d cores", m.Processor, m.Cores)
	if m.Memory > 0 {
		fmt.Fprintf(w, ", %.1f GiB", float64(m.Memory)/(1<<30))
	}
	fmt.Fprintf(w, "; instruction sets: %s\n", strings.Join(m.Features, " "))
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "\nBackends")
	for _, b := range i.Backends {
		if !b.Available {
			fmt.Fprintf(tab, "  %s\tnot available: %s\n", b.Name, b.Reason)
			continue
		}
		fmt.Fprintf(tab, "  %s\t%s", b.Name, b.Info.Device)
		if b.Info.Threads > 0 {
			fmt.Fprintf(tab, ", %d threads", b.Info.Threads)
		}
		fmt.Fprintln(tab)
	}
	tab.Flush()
	fmt.Fprintln(tab, "\nKernels")
	for _, k := range m.Kernels {
		fmt.Fprintf(tab, "  %s\t%s\tof %s\n", k.Package, k.Variant, strings.Join(k.Variants, " "))
	}
	tab.Flush()
	fmt.Fprintf(tab, "\nModels (parameters with a vocabulary of %d and a context of %d)\n", infoVocab, infoContext)
	for _, s := range i.Models {
		fmt.Fprintf(tab, "  %s\t%d\t%d layers of %d, MLP %d, %d/%d heads\t%s\n", s.Name, s.Params, s.Layers, s.Width, s.MLP, s.Heads, s.KV, s.About)
	}
	tab.Flush()
	fmt.Fprintln(tab, "\nPipelines")
	for _, p := range i.Presets {
		teacher := "no teacher"
		if p.Teacher != "" {
			teacher = fmt.Sprintf("teacher %s, %d steps", p.Teacher, p.Steps[0])
		}
		fmt.Fprintf(tab, "  %s\t%s\t%s\tstudent %s, %d steps\t%s\n", p.For, p.Name, teacher, p.Student, p.Steps[1], p.About)
	}
	tab.Flush()
	fmt.Fprintln(tab, "\nRecipes (what train and distill do without flags)")
	for _, r := range i.Recipes {
		t := r.Train
		fmt.Fprintf(tab, "  %s\tteacher %s, student %s\t%d steps of %d sequences\t%s, rates %g and %g of AdamW\t%s, the last %g of the steps\ttemperature %g, alpha %g\n",
			r.For, r.Teacher, r.Student, t.Steps, r.Rows, t.Optimizer, t.MuonLR, t.LR, t.Schedule, t.Decay, r.Distill.Temperature, r.Distill.Alpha)
	}
	tab.Flush()
}
