package c99

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// sizes.txt has two kinds of lines. "code TARGET PARTS GREEDY SAMPLING ALL STACK SELFTEST": bytes of code with greedy decoding, with
// sampling too, and with the self-test too; bytes of stack of a token and of the self-test. "text TARGET KIND BYTES": of text.c; "grammar" comes on top. "token
// TARGET" and a coefficient for each of [work]: instructions of a token.
//
//go:embed sizes.txt
var sizesText string

// Cost is what a model needs on a target. Flash is exact for the compiler and the level of Measured; so is RAM. Stack is what
// was found painted over, and about what legal answers or a grammar add. Instructions are an estimate from a count of what a token does.
type Cost struct {
	Target       string `json:"target"`
	Flash        int    `json:"flash"`          // weights, tables and code
	Code         int    `json:"code"`           // of it: greedy decoding, sampling, the self-test and the text's
	Greedy       int    `json:"code_greedy"`    // without sampling and self-test
	RAM          int    `json:"ram"`            // the state
	Stack        int    `json:"stack"`          // of a token
	BootStack    int    `json:"stack_selftest"` // of the self-test
	Instructions int    `json:"instructions"`   // of a token at the position Position
	Known        bool   `json:"known"`          // false where no model with these parts was measured: code, stack and flash are then about that
}

// Plan is what is known of a model before anything is compiled.
type Plan struct {
	Facts
	Parts    string `json:"parts"`
	Position int    `json:"position"` // of the token that instructions are counted of
	Costs    []Cost `json:"costs"`
}

// Measured says what the table was measured with.
const Measured = "gcc 12.2 (Debian 12), -Os -ffunction-sections -Wl,--gc-sections"

// usualPosition is where instructions are counted, or the last position of a shorter context.
const usualPosition = 31

// Predict says what a model needs. Errors: as of Write.
func Predict(w *student.Weights, tok tokenizer.Tokenizer, o Options) (*Plan, error) {
	e, err := newEmitter(w, tok, o)
	if err != nil {
		return nil, err
	}
	e.model()
	p := &Plan{Facts: e.facts, Parts: e.parts.key(), Position: min(usualPosition, w.Config.Context-1)}
	for _, t := range Targets() {
		code, known := table.code[t+" "+p.Parts]
		if !known {
			code = table.about(t)
		}
		text, measured := e.textCode(t)
		known = known && measured
		if e.o.Grammar != nil {
			more, measured := table.text[t+" grammar"]
			text, known = text+more, known && measured
		}
		p.Costs = append(p.Costs, Cost{
			Target: t, RAM: e.facts.RAM, Instructions: table.instructions(t, e.work(p.Position)), Known: known, Greedy: code.greedy + text,
			Code: code.all + text, Stack: code.stack + e.maskStack(), BootStack: code.selftest, Flash: e.facts.Weights + e.facts.Tables + code.all + text,
		})
	}
	return p, nil
}

// Fits checks a model against the flash of a target, or of every known target where none is named. Errors: *TooLargeError.
func (p *Plan) Fits(flash int, target string) error {
	worst := p.Weights + p.Tables
	for _, c := range p.Costs {
		if target == "" || c.Target == target {
			worst = max(worst, c.Flash)
		}
	}
	if worst > flash {
		return &TooLargeError{What: "flash", Got: worst, Limit: flash}
	}
	return nil
}

// key names the parts that change the code.
func (p parts) key() string {
	act := "relu"
	switch {
	case p.Gate:
		act = arch.ActSwiGLU
	case p.GELU:
		act = arch.ActGELU
	case p.Square:
		act = arch.ActReLU2
	}
	key := []string{"rms", act, fmt.Sprintf("rope%d", p.Rope)}
	if p.LayerNorm {
		key[0] = "layer"
	}
	for _, x := range []struct {
		on   bool
		name string
	}{{p.QKNorm, "qk"}, {p.PLE, "ple"}, {p.Bias, "bias"}, {p.Blocks, "blocks"}, {p.Packed, "packed"}, {p.Adapters > 0, "adapters"}} {
		if x.on {
			key = append(key, x.name)
		}
	}
	return strings.Join(key, "-")
}

// textCode is the size of text.c without a grammar, and whether it was measured.
func (e *emitter) textCode(target string) (bytes int, measured bool) {
	of := func(kind string) int { return table.text[target+" "+kind] }
	if kind := e.textKind(); kind != "bpe" || len(e.rules) == 0 {
		return of(kind), true
	}
	return of("bpe") + of("task") - of("chars"), false
}

// maskStack is about what student_play and student_write add to the stack of a token: a mask of the tokens that may come and their
// own variables, which are not in the table.
func (e *emitter) maskStack() int {
	if len(e.rules) == 0 && e.o.Grammar == nil {
		return 0
	}
	return pad((e.w.Config.VocabSize+7)/8, 8) + 64
}

// textKind names the parts of text.c.
func (e *emitter) textKind() string {
	switch {
	case e.text == nil:
		return "none"
	case e.text.table != nil:
		return "bpe"
	case len(e.rules) > 0:
		return "task"
	}
	return "chars"
}

// Terms is the number of things that instructions are counted by.
const Terms = 10

// work counts what a token at a position does: 1, multiplications of weights, rows of weights, elements that are quantised or
// normalised, pairs that are turned, exponentials, scores, elements of keys and values, and multiplications of weights in codes of 4
// and of other numbers of bits.
func (e *emitter) work(position int) [Terms]float64 {
	c := e.w.Config
	w := [Terms]float64{0: 1}
	macs, rows, elements, pairs, exps, scores, values := &w[1], &w[2], &w[3], &w[4], &w[5], &w[6], &w[7]
	product := func(m *student.Matrix, blocks bool) {
		*rows += float64(m.Rows)
		codes, coded := e.codes[m]
		switch {
		case coded && codes.Bits == 4:
			w[8] += float64(len(codes.Multiples) * codeGroup)
		case coded:
			w[9] += float64(len(codes.Multiples) * codeGroup)
		case blocks && inBlocks(m):
			b, _ := inBlocksOf(m)
			*macs += float64(len(b))
		default:
			*macs += float64(m.Rows * rowBytes(m.Cols))
		}
	}
	head := &e.w.Embedding
	if !c.TieEmbeddings {
		head = &e.w.Head
	}
	product(head, false)
	*elements += float64(4 * c.HiddenSize) // the embedding's row, and the last norm
	for i := range e.w.Layers {
		l, s := &e.w.Layers[i], c.Layer(i)
		for _, m := range []*student.Matrix{&l.Query, &l.Key, &l.Value, &l.Output, &l.Up, &l.Down} {
			product(m, e.parts.Blocks)
		}
		if e.parts.Gate {
			product(&l.Gate, e.parts.Blocks)
		}
		if e.parts.PLE {
			product(&l.PLE.Gate, e.parts.Blocks)
			product(&l.PLE.Out, e.parts.Blocks)
			*elements += float64(2*c.PLEDim + c.HiddenSize) // the row, its product quantised, and what is added
		}
		heads := s.Heads + s.KVHeads
		*elements += float64(2*3*c.HiddenSize + (2*s.Heads+2*s.KVHeads)*c.HeadDim + s.IntermediateSize)
		if e.parts.QKNorm {
			*elements += float64(2 * heads * c.HeadDim)
		}
		if e.parts.Rope > 0 {
			*pairs += float64(heads * c.HeadDim / 2)
		}
		if e.parts.Gate || e.parts.GELU {
			*exps += float64(s.IntermediateSize)
		}
		n := min(position+1, e.slots[i])
		*scores += float64(s.Heads * n)
		*values += float64(s.Heads * n * rowBytes(c.HeadDim))
	}
	return w
}

// sizes is sizes.txt.
type sizes struct {
	code  map[string]codeSize // by target and parts
	text  map[string]int      // by target and kind
	token map[string][Terms]float64
}

type codeSize struct{ greedy, sampling, all, stack, selftest int }

var table = mustSizes(sizesText)

func mustSizes(text string) *sizes {
	s, err := readSizes(text)
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return s
}

func readSizes(text string) (*sizes, error) {
	s := &sizes{code: map[string]codeSize{}, text: map[string]int{}, token: map[string][Terms]float64{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		var n int
		var err error
		switch {
		case f[0] == "code" && len(f) == 8:
			var c codeSize
			_, err = fmt.Sscan(strings.Join(f[3:], " "), &c.greedy, &c.sampling, &c.all, &c.stack, &c.selftest)
			s.code[f[1]+" "+f[2]] = c
		case f[0] == "text" && len(f) == 4:
			_, err = fmt.Sscan(f[3], &n)
			s.text[f[1]+" "+f[2]] = n
		case f[0] == "token" && len(f) == 2+Terms:
			var c [Terms]float64
			for i := range c {
				if _, err = fmt.Sscan(f[2+i], &c[i]); err != nil {
					break
				}
			}
			s.token[f[1]] = c
		default:
			err = fmt.Errorf("unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("sizes.txt: %q: %w", line, err)
		}
	}
	return s, nil
}

// about is the code of a model with parts that were not measured together: the largest that was measured on the target, and a tenth.
func (s *sizes) about(target string) (c codeSize) {
	for key, x := range s.code {
		if strings.HasPrefix(key, target+" ") {
			c.greedy, c.all = max(c.greedy, x.greedy*11/10), max(c.all, x.all*11/10)
			c.stack, c.selftest = max(c.stack, x.stack*11/10), max(c.selftest, x.selftest*11/10)
		}
	}
	return c
}

// Targets lists the processors of the table, the smallest first.
func Targets() []string {
	return []string{"cortex-m0+", "cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "cortex-m55", "rv32imac", "rv32imafc"}
}

// Target refuses a name that is not in the table.
func Target(name string) error {
	if !slices.Contains(Targets(), name) {
		return fmt.Errorf("unknown target %q; known: %s", name, strings.Join(Targets(), ", "))
	}
	return nil
}

func (s *sizes) instructions(target string, work [Terms]float64) int {
	sum := 0.0
	for i, c := range s.token[target] {
		sum += c * work[i]
	}
	return int(math.Round(sum))
}

// Work counts what a token at a position does, for measurements.
func Work(w *student.Weights, o Options, position int) ([Terms]float64, error) {
	e, err := newEmitter(w, nil, o)
	if err != nil {
		return [Terms]float64{}, err
	}
	return e.work(position), nil
}
