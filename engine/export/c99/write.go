package c99

import (
	"embed"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mito/engine/arch"
	"mito/engine/grammar"
	"mito/engine/session/adapters"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

//go:embed runtime
var runtimeFiles embed.FS

// Options of Write. The zero value is usual.
type Options struct {
	Name       string // of the functions and macros; "" for student
	SingleFile bool   // one header, NAME.h, with everything in it
	Task       string // whose legal answers are to be known; "" for none
	Proof      Proof
	Adapters   []adapters.Adapter
	Grammar    *grammar.Automaton // that texts can be held to, over the tokenizer's tokens; nil for none
	Codes      map[string]Codes   // of matrices by the names of their modules, where they have fewer than 8 bits
}

// NameError reports a name that C does not take.
type NameError struct{ Name, Why string }

func (e *NameError) Error() string {
	return fmt.Sprintf("the name %q %s; use letters, digits and _, beginning with a letter, such as oracle_1", e.Name, e.Why)
}

// TooLargeError reports a model that does not fit.
type TooLargeError struct {
	What       string
	Got, Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the model needs %d bytes of %s, %d are there", e.Got, e.What, e.Limit)
}

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// words of C that no name may be. A name is always followed by _, so keywords are no danger; these are what model.c itself uses.
var taken = []string{"int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "wasm", "arm"}

// CheckName refuses a name that is no identifier of C. Errors: *NameError.
func CheckName(name string) error {
	switch {
	case name == "":
		return nil
	case !identifier.MatchString(name):
		return &NameError{name, "is no identifier of C"}
	case len(name) > 31:
		return &NameError{name, "is longer than 31 characters, all that C99 promises to tell apart"}
	case slices.Contains(taken, strings.ToLower(name)):
		return &NameError{name, "is a type's"}
	}
	return nil
}

// Files are what Write makes, by name.
type Files map[string][]byte

// Names lists the files in order.
func (f Files) Names() []string { return slices.Sorted(maps.Keys(f)) }

// Write makes the C of a student. Errors: *NameError, *adapters.Error, *task.UnknownError, *task.RulesError,
// *TokenizerError, *GrammarError, *tokenizer.IDError, those of the weights.
func Write(w *student.Weights, tok tokenizer.Tokenizer, o Options) (Files, error) {
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	e, err := newEmitter(w, tok, o)
	if err != nil {
		return nil, err
	}
	out := Files{"model.c": e.model(), "model.h": nil}
	out["model.h"] = e.header() // after the arrays were counted
	names := []string{"student.h", "student.c", "selftest.c"}
	if e.text != nil || e.rules != nil || e.o.Grammar != nil {
		names = append(names, "text.c")
	}
	for _, name := range names {
		text, err := runtimeFiles.ReadFile("runtime/" + name)
		if err != nil {
			return nil, err
		}
		out[name] = text
	}
	if o.SingleFile {
		out = single(out)
	}
	if o.Name != "" && o.Name != "student" {
		out = renamed(out, o.Name)
	}
	return out, nil
}

var ownNames = regexp.MustCompile(`\b(student|STUDENT)_`)

// renamed gives functions, types and macros the model's name. File names stay, but for a single one.
func renamed(files Files, name string) Files {
	out := Files{}
	for file, text := range files {
		text = ownNames.ReplaceAllFunc(text, func(w []byte) []byte {
			if w[0] == 'S' {
				return []byte(strings.ToUpper(name) + "_")
			}
			return []byte(name + "_")
		})
		if file == singleName {
			file = name + ".h"
		}
		out[file] = text
	}
	return out
}

// singleName is the one file's.
const singleName = "student.single.h"

var (
	includes = regexp.MustCompile(`(?m)^#include "(model\.h|student\.h|selftest\.c)"\n`)
)

// single puts everything into one header: declarations always, definitions where STUDENT_IMPLEMENTATION is defined.
func single(files Files) Files {
	cut := func(name string) string { return includes.ReplaceAllString(string(files[name]), "") }
	var b strings.Builder
	b.WriteString("/* One file: include it where it is used, and in one file define STUDENT_IMPLEMENTATION before. */\n")
	b.WriteString(cut("model.h"))
	b.WriteString(cut("student.h"))
	b.WriteString("\n#ifdef STUDENT_IMPLEMENTATION\n")
	b.WriteString(cut("model.c"))
	code := string(files["student.c"])
	code = strings.Replace(code, "#include \"selftest.c\"\n", string(files["selftest.c"]), 1)
	b.WriteString(includes.ReplaceAllString(code, ""))
	if text := cut("text.c"); text != "" {
		b.WriteString(text)
	}
	b.WriteString("#endif\n")
	return Files{singleName: []byte(b.String())}
}

// emitter writes the arrays of a model.
type emitter struct {
	layout
	w     *student.Weights
	o     Options
	codes map[*student.Matrix]Codes
	*adapted
	text  *tokens
	rules []task.Rule
	facts Facts
	b     strings.Builder
}

// Facts are what is known of the memory of a model without its code: exactly what a linker places.
type Facts struct {
	Weights int `json:"weights"` // bytes of codes, scales, gains and biases in flash
	Tables  int `json:"tables"`  // of rotary tables, the table of layers, tokens and rules
	RAM     int `json:"ram"`     // sizeof(student_state)
}

func newEmitter(w *student.Weights, tok tokenizer.Tokenizer, o Options) (*emitter, error) {
	e := &emitter{w: w, o: o, codes: map[*student.Matrix]Codes{}}
	blocks, modules := false, w.Config.Modules()
	inside := func(name string) bool { // the layers, where no table is
		return slices.ContainsFunc(modules, func(m arch.Module) bool { return m.Name == name && m.Layer >= 0 && !m.Part.Table() })
	}
	if err := w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if c, ok := o.Codes[name]; ok && m != nil {
			e.codes[m] = c
			return c.check(name, m)
		}
		blocks = blocks || m != nil && inside(name) && inBlocks(m)
		return nil
	}); err != nil {
		return nil, err
	}
	var err error
	if e.adapted, err = newAdapted(w, o.Adapters); err != nil {
		return nil, err
	}
	e.layout = newLayout(w, blocks, len(e.codes) > 0, tableBytes)
	if e.adapted != nil {
		e.parts.Adapters = len(e.list)
	}
	if o.Task != "" {
		var err error
		if e.rules, err = task.Rules(o.Task); err != nil {
			return nil, err
		}
		if tok == nil {
			return nil, fmt.Errorf("legal answers need the tokenizer, and the model has none")
		}
		if format := task.FormatOf(o.Task, func(text string) bool { _, err := tok.Encode(text); return err == nil }); format != "" {
			return nil, &task.RulesError{Task: o.Task, Format: format}
		}
	}
	if tok != nil {
		var err error
		if e.text, err = newTokens(tok, w.Config.VocabSize); err != nil {
			return nil, err
		}
		if table := e.text.table; o.Task != "" && table != nil && len(table.Merges) > 0 {
			return nil, &TokenizerError{What: "joins characters of a task's prompt", Task: true}
		}
		for _, r := range e.rules {
			if len(e.text.single(r.Answer)) == 0 {
				return nil, fmt.Errorf("the task %s answers %q, which is no token of this model", o.Task, r.Answer)
			}
		}
	}
	if err := e.checkGrammar(); err != nil {
		return nil, err
	}
	e.facts.RAM = e.stateBytes()
	if e.adapted != nil {
		e.facts.RAM += 4 + 4*e.rank
	}
	return e, nil
}

// array writes one const array. Its bytes are a multiple of 4, so that none are lost between arrays.
func (e *emitter) array(ctype, name string, values []string, size int, to *int) string {
	for len(values)*size%4 != 0 {
		values = append(values, "0")
	}
	*to += len(values) * size
	fmt.Fprintf(&e.b, "static const %s %s[%d] STUDENT_ALIGNED = {", ctype, name, len(values))
	e.values(values)
	return name
}

// values ends the definition of an array.
func (e *emitter) values(values []string) {
	at := 0
	for i, v := range values {
		if i == 0 || at+len(v) > 120 {
			e.b.WriteString("\n ")
			at = 1
		}
		e.b.WriteString(v)
		e.b.WriteByte(',')
		at += len(v) + 1
	}
	e.b.WriteString("\n};\n")
}

func (e *emitter) floats(name string, v []float32) string {
	if v == nil {
		return "0"
	}
	return e.array("float", name, each(v, float), 4, &e.facts.Weights)
}

func float(v float32) string { return strconv.FormatFloat(float64(v), 'x', -1, 32) + "f" }

func each[T any](v []T, f func(T) string) []string {
	out := make([]string, len(v))
	for i, x := range v {
		out[i] = f(x)
	}
	return out
}

func integer[T int8 | uint8 | uint16 | int16 | uint32](v T) string { return strconv.Itoa(int(v)) }

// wholeRows are the rows of a matrix, each padded.
func wholeRows(m *student.Matrix) []int8 {
	n := rowBytes(m.Cols)
	rows := make([]int8, m.Rows*n)
	for r := range m.Rows {
		copy(rows[r*n:], m.Q[r*m.Cols:][:m.Cols])
	}
	return rows
}

// matrix writes a matrix and returns its initialiser.
func (e *emitter) matrix(name string, m *student.Matrix, blocks bool) string {
	var rows []int8
	index, multiples, bits := "0", "0", 0
	if c, ok := e.codes[m]; ok {
		rows, bits = c.pack(m), c.Bits
		multiples = e.array("uint8_t", name+"_m", each(c.Multiples, integer[uint8]), 1, &e.facts.Weights)
	} else if blocks {
		var at []uint8
		rows, at = inBlocksOf(m)
		index = e.array("uint8_t", name+"_i", each(at, integer[uint8]), 1, &e.facts.Weights)
	} else {
		rows = wholeRows(m)
	}
	parts := []string{e.array("int8_t", name+"_w", each(rows, integer[int8]), 1, &e.facts.Weights), e.floats(name+"_s", m.Scale)}
	if e.parts.Bias {
		parts = append(parts, e.floats(name+"_b", m.Bias))
	}
	if e.parts.Blocks {
		parts = append(parts, index)
	}
	if e.parts.Packed {
		parts = append(parts, multiples, strconv.Itoa(bits))
	}
	if e.parts.Adapters > 0 {
		parts = append(parts, strconv.Itoa(e.numberOf[m]))
	}
	return fmt.Sprintf("{%s, %d, %d}", strings.Join(parts, ", "), m.Rows, m.Cols)
}

// model is model.c.
func (e *emitter) model() []byte {
	w, c := e.w, e.w.Config
	e.b.WriteString("/* The weights of a model, as mito export c wrote them. */\n#include \"student.h\"\n\n")
	embedding := e.matrix("embedding", &w.Embedding, false)
	head := embedding
	if !c.TieEmbeddings {
		head = e.matrix("head", &w.Head, false)
	}
	var layers []string
	for i := range w.Layers {
		layers = append(layers, e.layer(i))
	}
	position := e.positions()
	norm := e.floats("norm_g", w.Norm)
	if e.parts.LayerNorm {
		norm += ", " + e.floats("norm_b", w.NormBias)
	}
	fmt.Fprintf(&e.b, "static const student_layer layers[%d] = {\n%s\n};\n", len(layers), strings.Join(layers, ",\n"))
	fmt.Fprintf(&e.b, "const student_model_data student_model = {\n %s,\n %s,\n %s,\n layers, %s,\n %s, %s\n};\n",
		embedding, head, position, norm, e.numbers(), float(c.NormEps))
	e.facts.Tables += e.tableBytes()
	e.adapterArrays()
	e.tokenizerArrays()
	e.grammarArrays()
	return []byte(e.b.String())
}

// scoreUnit turns scores into units of 2^-11 octaves: SPEC.md, section 3.
var scoreUnit = math.Float32frombits(0x4538aa3b)

// numbers are the sizes in student_model_data.
func (e *emitter) numbers() string {
	c := e.w.Config
	list := []int{c.VocabSize, c.HiddenSize, c.Layers, c.HeadDim, c.Context, e.buffer, e.scoresAt, e.codesAt, e.row}
	if e.parts.Rope == 2 {
		list = append(list, e.rotaryAt)
	}
	return strings.Join(each(list, strconv.Itoa), ", ")
}

func (e *emitter) layer(i int) string {
	l, s, at := &e.w.Layers[i], e.w.Config.Layer(i), fmt.Sprintf("l%d_", i)
	m := func(part arch.Part, m *student.Matrix) string {
		return e.matrix(at+strings.ReplaceAll(part.String(), ".", "_"), m, !part.Table() && e.parts.Blocks && inBlocks(m))
	}
	list := []string{
		m(arch.Query, &l.Query), m(arch.Key, &l.Key), m(arch.Value, &l.Value), m(arch.Output, &l.Output), m(arch.Up, &l.Up), m(arch.Down, &l.Down),
		e.floats(at+"n1", l.Norm1), e.floats(at+"n2", l.Norm2),
	}
	if e.parts.Gate {
		list = append(list, m(arch.Gate, &l.Gate))
	}
	if e.parts.LayerNorm {
		list = append(list, e.floats(at+"n1b", l.Norm1Bias), e.floats(at+"n2b", l.Norm2Bias))
	}
	if e.parts.QKNorm {
		list = append(list, e.floats(at+"qn", l.QueryNorm), e.floats(at+"kn", l.KeyNorm))
	}
	if e.parts.PLE {
		list = append(list, m(arch.PLETable, &l.PLE.Table), m(arch.PLEGate, &l.PLE.Gate), m(arch.PLEOut, &l.PLE.Out))
	}
	factor := s.Scale * scoreUnit
	return fmt.Sprintf(" {%s, %d, %d, %d, %s}", strings.Join(list, ", "), s.Heads, s.KVHeads, e.slots[i], float(factor))
}

// positions writes what turns heads, or the embeddings of positions.
func (e *emitter) positions() string {
	c := e.w.Config
	half := c.HeadDim / 2
	switch e.parts.Rope {
	case 1:
		cos, sin := student.RoPETables(c, c.Context)
		a := e.array("float", "cosine", each(cos, float), 4, &e.facts.Tables)
		return a + ", " + e.array("float", "sine", each(sin, float), 4, &e.facts.Tables)
	case 2:
		cf, sf := student.RoPESteps(c.HeadDim, c.RoPETheta)
		double := func(v float64) string { return strconv.FormatFloat(v, 'x', -1, 64) }
		a := e.array("double", "cosine_step", each(cf[:half], double), 8, &e.facts.Tables)
		return a + ", " + e.array("double", "sine_step", each(sf[:half], double), 8, &e.facts.Tables)
	default:
		return e.matrix("positions", &e.w.Positions, false)
	}
}

// tableBytes is the size of the two structures that say where everything is, with pointers of 4 bytes.
func (e *emitter) tableBytes() int {
	p := e.parts
	count := func(list ...bool) (n int) {
		for _, x := range list {
			if x {
				n++
			}
		}
		return n
	}
	matrix := 4 * (4 + count(p.Bias, p.Blocks) + 2*count(p.Packed) + count(p.Adapters > 0))
	layer := 6*matrix + count(p.Gate)*matrix + 3*count(p.PLE)*matrix + 4*(2+4) + 8*count(p.LayerNorm, p.QKNorm)
	model := 2*matrix + 4 + 4 + 4*count(p.LayerNorm) + 4*(10+count(p.Rope == 2))
	if p.Rope == 0 {
		model += matrix
	} else {
		model += 8
	}
	return layer*e.w.Config.Layers + model
}
