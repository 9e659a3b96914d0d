package mcu

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/export/c99"
	"mito/engine/grammar"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

var (
	onBoards = flag.Bool("boards", false, "build for every board and compiler that is installed, and run there: some minutes")
	update   = flag.Bool("update", false, "measure everything again and write engine/export/c99/sizes.txt")
)

// terms are the things that instructions are counted by.
const terms = c99.Terms

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

// form is how matrices are stored.
type form struct {
	blocks bool // those of the layers in blocks, where a third is not zero
	bits   int  // in codes: with blocks the embedding only, else all; 0 for bytes
}

// stored are random weights in a form.
func stored(t testing.TB, c arch.Config, f form) (*student.Weights, c99.Options) {
	t.Helper()
	w, o := weights(t, c, f.blocks), c99.Options{}
	if f.bits == 0 {
		return w, o
	}
	r, most := rand.New(rand.NewPCG(3, 3)), 1<<(f.bits-1)-1
	o.Codes = map[string]c99.Codes{}
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil || f.blocks && strings.HasPrefix(name, "model.layers.") {
			return nil
		}
		groups := (m.Cols + 31) / 32
		multiples := make([]uint8, m.Rows*groups)
		for i := range multiples {
			multiples[i] = uint8(127 / most)
		}
		for i := range m.Q {
			m.Q[i] = int8((r.IntN(2*most+1) - most) * (127 / most))
		}
		o.Codes[name] = c99.Codes{Bits: f.bits, Multiples: multiples}
		return nil
	})
	return w, o
}

// written is the C of random weights.
func written(t testing.TB, c arch.Config, f form, tok tokenizer.Tokenizer, task string) c99.Files {
	t.Helper()
	w, o := stored(t, c, f)
	o.Task = task
	files, err := c99.Write(w, tok, o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// family is a model that has some parts, and how it is stored.
type family struct {
	arch.Config
	form
}

// families have every combination of parts that the presets and what mito does with them lead to.
func families() (list []family) {
	for _, change := range []func(c *arch.Config){
		func(*arch.Config) {}, func(c *arch.Config) { c.Activation, c.TieEmbeddings = arch.ActSwiGLU, false },
	} {
		for _, qk := range []bool{false, true} {
			for _, length := range []func(c *arch.Config){func(*arch.Config) {}, long} {
				c := config(func(c *arch.Config) { change(c); length(c); c.QKNorm = qk })
				list = append(list, family{c, form{}}, family{c, form{bits: 4}})
				if c.Activation == arch.ActReLU2 {
					list = append(list, family{c, form{blocks: true}}, family{c, form{blocks: true, bits: 4}})
				}
			}
		}
	}
	for _, qk := range []bool{false, true} {
		c := config(func(c *arch.Config) { c.PLEDim, c.QKNorm = 32, qk })
		list = append(list, family{c, form{}}, family{c, form{bits: 4}})
	}
	c := config(gpt)
	return append(list, family{c, form{}}, family{c, form{bits: 4}})
}

// measureCode measures the lines "code" of a model on a board.
func measureCode(t testing.TB, b *Board, x family) string {
	ctx := context.Background()
	w, o := stored(t, x.Config, x.form)
	files, err := c99.Write(w, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := c99.Predict(w, nil, o)
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
		files := written(t, config(func(c *arch.Config) { c.VocabSize = bpe.VocabSize() }), form{}, x.tok, x.task)
		p, err := b.build(context.Background(), files, t.TempDir(), whatAll, "-DSTUDENT_SELFTEST=0")
		if err != nil {
			t.Fatal(err)
		}
		if x.kind == "none" {
			base = p.Map.Code
		}
		lines = append(lines, fmt.Sprintf("text %s %s %d", b.Name, x.kind, p.Map.Code-base))
	}
	return append(lines, fmt.Sprintf("text %s grammar %d", b.Name, measureGrammar(t, b, chars)))
}

// measureGrammar is the code that holding texts to a grammar takes beside a tokenizer.
func measureGrammar(t testing.TB, b *Board, tok tokenizer.Tokenizer) int {
	g, err := grammar.Regex("[0-8]{1,3}=")
	if err != nil {
		t.Fatal(err)
	}
	v, err := decode.Vocabulary(tok)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Bind(v)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Automaton(100)
	if err != nil {
		t.Fatal(err)
	}
	var code []int
	for _, a := range []*grammar.Automaton{nil, a} {
		w, o := stored(t, config(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), form{})
		o.Grammar = a
		files, err := c99.Write(w, tok, o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.build(context.Background(), files, t.TempDir(), whatAll, "-DSTUDENT_SELFTEST=0")
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, p.Map.Code)
	}
	return code[1] - code[0]
}

// workloads are the models that instructions are counted of.
func workloads() []family {
	wide := config(func(c *arch.Config) { c.HiddenSize, c.IntermediateSize = 96, 192 })
	micro := micro(28, 33)
	return []family{
		{config(func(c *arch.Config) {}), form{}}, {wide, form{}}, {micro, form{}},
		{config(func(c *arch.Config) { c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize = 8, 8, 4, 32 }), form{}},
		{config(func(c *arch.Config) { c.Heads, c.KVHeads, c.HeadDim, c.VocabSize = 1, 1, 32, 200 }), form{}},
		{config(func(c *arch.Config) { gpt(c); c.IntermediateSize = 128 }), form{}},
		{config(func(c *arch.Config) { c.Activation, c.IntermediateSize = arch.ActSwiGLU, 48 }), form{}},
		{wide, form{bits: 4}}, {micro, form{bits: 4}}, {wide, form{bits: 6}}, {micro, form{bits: 6}},
	}
}

// observation is what a token does and the instructions that it took.
type observation struct {
	work         [terms]float64
	instructions float64
}

func observe(t testing.TB, b *Board, x family) (out []observation) {
	w, o := stored(t, x.Config, x.form)
	files, err := c99.Write(w, nil, o)
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
		work, err := c99.Work(w, o, position)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, observation{work, float64(n)})
	}
	return out
}

// fit finds the coefficients with the least squares of relative errors, none negative: those that would be are 0.
func fit(list []observation) (c [terms]float64) {
	var use [terms]bool
	for i := range use {
		use[i] = true
	}
	for {
		var a [terms][terms + 1]float64
		for _, o := range list {
			for i := range terms {
				for j := range terms {
					a[i][j] += o.work[i] * o.work[j] / (o.instructions * o.instructions)
				}
				a[i][terms] += o.work[i] / o.instructions
			}
		}
		for i := range terms {
			if !use[i] {
				a[i] = [terms + 1]float64{}
				for j := range terms {
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
func solve(a [terms][terms + 1]float64) (x [terms]float64) {
	for i := range terms {
		p := i
		for r := i; r < terms; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[p][i]) {
				p = r
			}
		}
		a[i], a[p] = a[p], a[i]
		for r := i + 1; r < terms; r++ {
			f := a[r][i] / a[i][i]
			for k := i; k <= terms; k++ {
				a[r][k] -= f * a[i][k]
			}
		}
	}
	for i := terms - 1; i >= 0; i-- {
		x[i] = a[i][terms]
		for k := i + 1; k < terms; k++ {
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
	room := make(chan bool, 2*runtime.GOMAXPROCS(0))
	for i := range boards {
		wait.Add(1)
		room <- true
		go func() {
			defer func() { <-room; wait.Done() }()
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
	for _, x := range families() {
		lines = append(lines, measureCode(t, b, x))
	}
	lines = append(lines, measureText(t, b)...)
	var list []observation
	for _, x := range workloads() {
		list = append(list, observe(t, b, x)...)
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
