package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"mito/engine/decode"
	"mito/engine/export"
	"mito/engine/export/c99"
)

// modelMemory says what a model takes before anything runs.
type modelMemory struct {
	Dir       string `json:"dir"`
	Kind      string `json:"kind"`
	Params    int    `json:"params"`
	Active    int64  `json:"active_params"` // that a token uses: of a table that is only looked up, one row
	Vocab     int    `json:"vocab"`
	Context   int    `json:"context"`
	Weights   int    `json:"weight_bytes"` // as they ship
	Page      int    `json:"page_positions"`
	PageBytes int    `json:"page_bytes"`        // of the cache, over all layers
	PerToken  int    `json:"token_cache_bytes"` // in a page that is full
	Sequence  int    `json:"sequence_cache_bytes"`
	Window    bool   `json:"window"` // a sequence holds less than its context: windows pass on

	Device *c99.Plan `json:"device,omitempty"` // what an INT8 student needs of a microcontroller
}

// sideBySideTexts are numbers of texts that the cache is told for.
var sideBySideTexts = []int{1, 8, 64}

func gatherModel(ctx context.Context, flag string) (m *modelMemory, err error) {
	dir, err := modelFolder("--model", flag)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	rt, err := decode.Open(dir, decode.Options{})
	if err != nil {
		return nil, err
	}
	defer closing(rt, &err)
	m = &modelMemory{Dir: flag, Kind: rt.Kind(), Params: rt.Params(), Active: rt.Config().Active(), Vocab: rt.VocabSize(), Context: rt.Context(), Weights: rt.Bytes()}
	m.PageBytes, m.Page = rt.CacheBytes(1)
	m.PerToken = m.PageBytes / m.Page
	m.Sequence, _ = rt.CacheBytes(m.Context)
	m.Window = m.Sequence < (m.Context+m.Page-1)/m.Page*m.PageBytes
	m.Device, err = devicePlan(ctx, dir)
	return m, err
}

// devicePlan is what mito export c --dry-run says of a student, nil for a float model. A tokenizer that C has not is left out.
func devicePlan(ctx context.Context, dir string) (*c99.Plan, error) {
	format, err := export.Find("c")
	if err != nil {
		return nil, err
	}
	for _, noTokenizer := range []bool{false, true} {
		from, err := export.OpenWith(dir, noTokenizer)
		if err != nil {
			return nil, err
		}
		if q, err := from.Quantization(); err != nil || q == nil {
			return nil, err
		}
		p, err := format.Plan(ctx, from, export.Options{})
		if unknown := (*c99.TokenizerError)(nil); !errors.As(err, &unknown) {
			return p, err
		}
	}
	return nil, nil
}

func (m *modelMemory) print(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "%s\t%s, %d parameters, of which a token uses %d, vocabulary %d, context %d\n", m.Dir, m.Kind, m.Params, m.Active, m.Vocab, m.Context)
	fmt.Fprintf(tab, "weights\t%d bytes\n", m.Weights)
	fmt.Fprintf(tab, "cache\t%d bytes a token, in pages of %d positions with %d bytes\n", m.PerToken, m.Page, m.PageBytes)
	for _, n := range sideBySideTexts {
		note := ""
		if m.Window {
			note = ", of which only the window is kept"
		}
		fmt.Fprintf(tab, "cache of %d texts\t%d bytes with full contexts%s\n", n, n*m.Sequence, note)
	}
	fmt.Fprintf(tab, "votes\tcontinuations share the pages of their prompt: each takes %d bytes for every %d tokens beyond it\n", m.PageBytes, m.Page)
	tab.Flush()
	if m.Device == nil {
		fmt.Fprintln(w, "microcontrollers compute INT8 students: mito quantize, then this says what flash, RAM and stack they need")
		return
	}
	fmt.Fprint(w, "\nOn microcontrollers (mito export c): ")
	printPlan(w, m.Device)
}
