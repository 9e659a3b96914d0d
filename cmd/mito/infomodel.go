package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"mito/engine/decode"
)

// modelMemory says what a model takes before anything runs.
type modelMemory struct {
	Dir       string `json:"dir"`
	Kind      string `json:"kind"`
	Params    int    `json:"params"`
	Vocab     int    `json:"vocab"`
	Context   int    `json:"context"`
	Weights   int    `json:"weight_bytes"` // as they ship
	Page      int    `json:"page_positions"`
	PageBytes int    `json:"page_bytes"`        // of the cache, over all layers
	PerToken  int    `json:"token_cache_bytes"` // in a page that is full
	Sequence  int    `json:"sequence_cache_bytes"`
	Window    bool   `json:"window"` // a sequence holds less than its context: windows pass on
}

// sideBySideTexts are numbers of texts that the cache is told for.
var sideBySideTexts = []int{1, 8, 64}

func gatherModel(flag string) (m *modelMemory, err error) {
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
	m = &modelMemory{Dir: flag, Kind: rt.Kind(), Params: rt.Params(), Vocab: rt.VocabSize(), Context: rt.Context(), Weights: rt.Bytes()}
	m.PageBytes, m.Page = rt.CacheBytes(1)
	m.PerToken = m.PageBytes / m.Page
	m.Sequence, _ = rt.CacheBytes(m.Context)
	m.Window = m.Sequence < (m.Context+m.Page-1)/m.Page*m.PageBytes
	return m, nil
}

func (m *modelMemory) print(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "%s\t%s, %d parameters, vocabulary %d, context %d\n", m.Dir, m.Kind, m.Params, m.Vocab, m.Context)
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
}
