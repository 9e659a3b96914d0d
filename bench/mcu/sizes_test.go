package mcu

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"mito/engine/arch"
	"mito/engine/export/c99"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

var (
	onBoards = flag.Bool("boards", false, "build for every board and compiler that is installed, and run there: some minutes")
	update   = flag.Bool("update", false, "measure everything again and write engine/export/c99/sizes.txt")
)

const sizesFile = "../../engine/export/c99/sizes.txt"

// config is a small model of mito's usual shape.
func config(change func(c *arch.Config)) arch.Config {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 28, HiddenSize: 32, IntermediateSize: 64, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 33, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
	change(&c)
	return c
}

func gpt(c *arch.Config) {
	c.Norm, c.Position, c.Activation, c.AttentionBias, c.MLPBias = arch.NormLayer, arch.PositionLearned, arch.ActGELU, true, true
}

// long is a context whose rotary tables are too large for flash.
func long(c *arch.Config) { c.Context = 1024 }

// weights are random ones.
func weights(t testing.TB, c arch.Config, blocks bool) *student.Weights {
	t.Helper()
	w, err := student.NewWeights(c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 9))
	_ = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			for i := range *v {
				(*v)[i] = 1 + float32(r.NormFloat64())/8
			}
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(max(-127, min(127, r.NormFloat64()*40)))
			if row, col := i/m.Cols/4, i%m.Cols/8; blocks && (row*7+col*5)%3 > 0 && strings.HasPrefix(name, "model.layers.") {
				m.Q[i] = 0
			}
		}
		for i := range m.Scale {
			m.Scale[i] = float32(0.5+r.Float64()) / 400
		}
		for i := range m.Bias {
			m.Bias[i] = float32(r.NormFloat64()) / 8
		}
		return nil
	})
	return w
}

// written is the C of random weights.
func written(t testing.TB, c arch.Config, blocks bool, tok tokenizer.Tokenizer, task string) c99.Files {
	t.Helper()
	files, err := c99.Write(weights(t, c, blocks), tok, c99.Options{Task: task})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// families are models that have every combination of parts that the table knows.
func families() map[string]arch.Config {
	list := map[string]arch.Config{}
	for _, qk := range []bool{false, true} {
		list[fmt.Sprint("usual ", qk)] = config(func(c *arch.Config) { c.QKNorm = qk })
	}
	list["long"] = config(func(c *arch.Config) { c.QKNorm = true; long(c) })
	return list
}

// measureCode measures the lines "code" of a model on a board.
func measureCode(t testing.TB, b *Board, c arch.Config, blocks bool) string {
	ctx := context.Background()
	w := weights(t, c, blocks)
	files, err := c99.Write(w, nil, c99.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := c99.Predict(w, nil, c99.Options{})
	if err != nil {
		t.Fatal(err)
	}
	build := func(what int, args ...string) *Program {
		p, err := b.build(ctx, files, t.TempDir(), what, args...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stack := func(p *Program) int {
		n, err := p.stack(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	greedy, sampling, all := build(whatAll, "-DSTUDENT_SELFTEST=0", "-DSTUDENT_SAMPLE=0"), build(whatAll, "-DSTUDENT_SELFTEST=0"), build(whatAll)
	if all.Map.Data != plan.Weights+plan.Tables {
		t.Errorf("%s %s: model.c takes %d bytes of flash, predicted %d", b.Name, plan.Parts, all.Map.Data, plan.Weights+plan.Tables)
	}
	if all.Map.RAM != plan.RAM {
		t.Errorf("%s %s: the state takes %d bytes, predicted %d", b.Name, plan.Parts, all.Map.RAM, plan.RAM)
	}
	return fmt.Sprintf("code %s %s %d %d %d %d %d", b.Name, plan.Parts, greedy.Map.Code, sampling.Map.Code, all.Map.Code,
		stack(build(whatTokens)), stack(build(whatSelftest, "-DUNCHECKED")))
}

// measureText measures the lines "text" of a board.
func measureText(t testing.TB, b *Board) (lines []string) {
	chars, err := tokenizer.NewChars("0123456789ABCDEFGHIabcdefghi=", tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	bpe, err := tokenizer.TrainBPE(strings.Repeat("the cat and the hat, the dog and the log. ", 20), 280, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	base := 0
	for _, x := range []struct {
		kind, task string
		tok        tokenizer.Tokenizer
	}{{"none", "", nil}, {"chars", "", chars}, {"task", "tictactoe", chars}, {"bpe", "", bpe}} {
		files := written(t, config(func(c *arch.Config) { c.VocabSize = bpe.VocabSize() }), false, x.tok, x.task)
		p, err := b.build(context.Background(), files, t.TempDir(), whatAll, "-DSTUDENT_SELFTEST=0")
		if err != nil {
			t.Fatal(err)
		}
		if x.kind == "none" {
			base = p.Map.Code
		}
		lines = append(lines, fmt.Sprintf("text %s %s %d", b.Name, x.kind, p.Map.Code-base))
	}
	return lines
}

// workloads are the models that instructions are counted of.
func workloads() map[string]arch.Config {
	return map[string]arch.Config{
		"small": config(func(c *arch.Config) {}),
		"wide":  config(func(c *arch.Config) { c.HiddenSize, c.IntermediateSize = 96, 192 }),
		"heads": config(func(c *arch.Config) { c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize = 8, 8, 4, 32 }),
		"head":  config(func(c *arch.Config) { c.Heads, c.KVHeads, c.HeadDim, c.VocabSize = 1, 1, 32, 200 }),
		"gelu":  config(func(c *arch.Config) { gpt(c); c.IntermediateSize = 128 }),
		"gate":  config(func(c *arch.Config) { c.Activation, c.IntermediateSize = arch.ActSwiGLU, 48 }),
		"micro": config(func(c *arch.Config) {
			c.HiddenSize, c.IntermediateSize, c.HeadDim, c.Layers, c.QKNorm = 64, 128, 16, 2, true
		}),
	}
}

// observation is what a token does and the instructions that it took.
type observation struct {
	work         [8]float64
	instructions float64
}

func observe(t testing.TB, b *Board, c arch.Config) (out []observation) {
	w := weights(t, c, false)
	files, err := c99.Write(w, nil, c99.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.build(context.Background(), files, t.TempDir(), whatTokens, "-DSTUDENT_SELFTEST=0", "-DSTUDENT_SAMPLE=0")
	if err != nil {
		t.Fatal(err)
	}
	for _, position := range []int{2, 31} {
		n, err := p.another(context.Background(), position)
		if err != nil {
			t.Fatal(err)
		}
		work, err := c99.Work(w, position)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, observation{work, float64(n)})
	}
	return out
}

// fit finds the coefficients with the least squares of relative errors, none negative: those that would be are 0.
func fit(list []observation) (c [8]float64) {
	use := [8]bool{true, true, true, true, true, true, true, true}
	for {
		var a [8][9]float64
		for _, o := range list {
			for i := range 8 {
				for j := range 8 {
					a[i][j] += o.work[i] * o.work[j] / (o.instructions * o.instructions)
				}
				a[i][8] += o.work[i] / o.instructions
			}
		}
		for i := range 8 {
			if !use[i] {
				a[i] = [9]float64{}
				for j := range 8 {
					a[j][i] = 0
				}
				a[i][i] = 1
			}
		}
		c = solve(a)
		worst := -1
		for i, v := range c {
			if v < 0 && (worst < 0 || v < c[worst]) {
				worst = i
			}
		}
		if worst < 0 {
			return c
		}
		use[worst] = false
	}
}

// solve is Gauss's elimination with pivots.
func solve(a [8][9]float64) (x [8]float64) {
	for i := range 8 {
		p := i
		for r := i; r < 8; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[p][i]) {
				p = r
			}
		}
		a[i], a[p] = a[p], a[i]
		for r := i + 1; r < 8; r++ {
			f := a[r][i] / a[i][i]
			for k := i; k < 9; k++ {
				a[r][k] -= f * a[i][k]
			}
		}
	}
	for i := 7; i >= 0; i-- {
		x[i] = a[i][8]
		for k := i + 1; k < 8; k++ {
			x[i] -= a[i][k] * x[k]
		}
		x[i] /= a[i][i]
	}
	return x
}

// present lists the boards that can be built for and run here.
func present(t testing.TB) (list []Board) {
	if !*onBoards && !*update {
		t.Skip("go test ./bench/mcu -boards builds for boards and runs there")
	}
	for _, b := range Boards() {
		if missing := b.Missing(); missing != "" {
			t.Logf("%s is left out: there is no %s", b.Name, missing)
			continue
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		t.Skip(ErrNoBoards)
	}
	return list
}

// TestUpdate writes sizes.txt.
func TestUpdate(t *testing.T) {
	if !*update {
		t.Skip("go test ./bench/mcu -run Update -update -timeout 1h measures everything again")
	}
	boards := present(t)
	var wait sync.WaitGroup
	var file sync.Mutex
	two := make(chan bool, 2)
	for i := range boards {
		wait.Add(1)
		two <- true
		go func() {
			defer func() { <-two; wait.Done() }()
			lines := measure(t, &boards[i])
			file.Lock()
			defer file.Unlock()
			replaceLines(t, boards[i].Name, lines)
		}()
	}
	wait.Wait()
}

// measure measures all lines of a board.
func measure(t testing.TB, b *Board) (lines []string) {
	seen := map[string]bool{}
	for _, blocks := range []bool{false, true} {
		for name, c := range families() {
			if blocks && name != "usual true" {
				continue // pruned models are of mito's usual shape
			}
			line := measureCode(t, b, c, blocks)
			if key := strings.Fields(line)[2]; !seen[key] {
				seen[key] = true
				lines = append(lines, line)
			}
		}
	}
	lines = append(lines, measureText(t, b)...)
	var list []observation
	for _, c := range workloads() {
		list = append(list, observe(t, b, c)...)
	}
	line, c, worst := "token "+b.Name, fit(list), 0.0
	for _, v := range c {
		line += fmt.Sprintf(" %.3f", v)
	}
	for _, o := range list {
		sum := 0.0
		for k := range c {
			sum += c[k] * o.work[k]
		}
		worst = max(worst, math.Abs(sum/o.instructions-1))
	}
	t.Logf("%s: instructions of a token within %.1f%%", b.Name, 100*worst)
	return append(lines, line)
}

// replaceLines puts the lines of a board into sizes.txt in place of those that it had.
func replaceLines(t testing.TB, board string, lines []string) {
	old, err := os.ReadFile(sizesFile)
	if err != nil {
		t.Error(err)
		return
	}
	for line := range strings.Lines(string(old)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" && f[1] != board {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	text := "# Measured by go test ./bench/mcu -run Update -update with " + c99.Measured + ". See predict.go.\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(sizesFile, []byte(text), 0o666); err != nil {
		t.Error(err)
	}
}
