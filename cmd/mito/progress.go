package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mito/engine/pipeline"
)

// newProgress shows a bar on a terminal, plain lines elsewhere, and nothing with --quiet.
func newProgress(cmd *cobra.Command, quiet bool) pipeline.Progress {
	out := cmd.ErrOrStderr()
	file, _ := out.(*os.File)
	switch {
	case quiet:
		return pipeline.Silent{}
	case file != nil && term.IsTerminal(int(file.Fd())):
		return &bar{out: out}
	default:
		return &lines{out: out}
	}
}

// bar shows a bar with rate and time left, and a line for each stage that is done.
type bar struct {
	out   io.Writer
	stage string
	b     *progressbar.ProgressBar
	began time.Time
}

func (p *bar) Start(stage string, total int) {
	p.stage, p.began = stage, time.Now()
	if total == 0 {
		total = -1
	}
	p.b = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(20),
	)
}

func (p *bar) Update(done int, note string) {
	if note != "" {
		p.b.Describe(p.stage + ": " + note)
	}
	p.b.Set(done)
}

func (p *bar) End(result string) {
	p.b.Clear()
	fmt.Fprintf(p.out, "%s: %s (%s)\n", p.stage, result, time.Since(p.began).Round(100*time.Millisecond))
}

// lines prints a line every few seconds.
type lines struct {
	out   io.Writer
	stage string
	total int
	began time.Time
	last  time.Time
}

const lineEvery = 5 * time.Second

func (p *lines) Start(stage string, total int) {
	p.stage, p.total, p.began, p.last = stage, total, time.Now(), time.Now()
	fmt.Fprintf(p.out, "%s ...\n", stage)
}

func (p *lines) Update(done int, note string) {
	if time.Since(p.last) < lineEvery || done == 0 {
		return
	}
	p.last = time.Now()
	spent := time.Since(p.began)
	left := ""
	if p.total > done {
		left = fmt.Sprintf(", %s left", (spent * time.Duration(p.total-done) / time.Duration(done)).Round(time.Second))
	}
	fmt.Fprintf(p.out, "%s: %d of %d, %.1f/s%s %s\n", p.stage, done, p.total, float64(done)/spent.Seconds(), left, note)
}

func (p *lines) End(result string) {
	fmt.Fprintf(p.out, "%s: %s (%s)\n", p.stage, result, time.Since(p.began).Round(100*time.Millisecond))
}
