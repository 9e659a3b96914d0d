package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/export/c99"
	"mito/engine/files"
	"mito/engine/grammar"
	"mito/engine/session/adapters"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// COptions are those of the formats that become C.
type COptions struct {
	Name       string // of the functions; "" for student
	SingleFile bool
	Task       string // a task's legal answers, "" for none
	Flash      int    // bytes that are there, 0 for any number
	Target     string // for Flash: a processor of c99.Targets, "" for all
	Adapters   []adapters.Adapter
	Grammar    *grammar.Grammar // that texts can be held to, nil for none
}

// given says that there is something that only devices take.
func (o *COptions) given() bool {
	return o.Name != "" || o.SingleFile || o.Task != "" || o.Flash != 0 || o.Target != "" || o.Adapters != nil || o.Grammar != nil
}

// errFloatStudent refuses floats.
var errFloatStudent = errors.New("the model is float, and what devices and pages compute is an INT8 student: mito quantize makes one")

// cFolder is C99 for devices.
var cFolder = Format{
	Name: "c", About: "C99 for microcontrollers, of an INT8 student: no malloc, no libm, the digest of mito verify",
	Student: true, Write: writeC, Plan: planC, Prove: proveC,
}

// readC reads what C is made of.
func readC(from *Source, o Options) (*student.Weights, c99.Options, error) {
	var made c99.Options
	if err := c99.CheckName(o.C.Name); err != nil {
		return nil, made, &OptionError{"--name: " + err.Error()}
	}
	if o.C.Task != "" {
		if _, err := task.Rules(o.C.Task); err != nil {
			return nil, made, &OptionError{"--task: " + err.Error()}
		}
	}
	if o.C.Target != "" {
		if err := c99.Target(o.C.Target); err != nil {
			return nil, made, &OptionError{"--target: " + err.Error()}
		}
	}
	w, err := readStudent(from)
	if err != nil {
		return nil, made, err
	}
	made = c99.Options{Name: o.C.Name, SingleFile: o.C.SingleFile, Task: o.C.Task, Adapters: o.C.Adapters}
	if made.Grammar, err = automaton(from.Tok, o.C.Grammar); err != nil {
		return nil, made, err
	}
	q, err := from.Quantization()
	if err != nil {
		return nil, made, err
	}
	made.Codes, err = Codes(w, q.Codes())
	return w, made, err
}

// maxGrammarStates bounds what of a grammar goes to flash.
const maxGrammarStates = 4096

// automaton lists the states of a grammar over a tokenizer's tokens, nil for none.
func automaton(tok tokenizer.Tokenizer, g *grammar.Grammar) (*grammar.Automaton, error) {
	if g == nil {
		return nil, nil
	}
	if tok == nil {
		return nil, &c99.GrammarError{What: "needs the tokenizer, and the model has none"}
	}
	v, err := decode.Vocabulary(tok)
	if err != nil {
		return nil, err
	}
	m, err := g.Bind(v)
	if err != nil {
		return nil, err
	}
	a, err := m.Automaton(maxGrammarStates)
	if errors.Is(err, grammar.ErrStates) {
		return nil, &c99.GrammarError{What: fmt.Sprintf("has more than %d states, as one that nests to any depth has: on a device it cannot be listed; bound its depth and its repetitions", maxGrammarStates)}
	}
	return a, err
}

// Codes finds what the matrices of a student that have fewer than 8 bits, by the names of their modules, are multiples of.
func Codes(w *student.Weights, bits map[string]int) (map[string]c99.Codes, error) {
	codes := map[string]c99.Codes{}
	return codes, w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil || bits[name] == 0 {
			return nil
		}
		tensors, err := checkpoint.CodeTensors(name, m.Rows, m.Cols, bits[name], m.Q, m.Scale)
		if err == nil {
			codes[name] = c99.Codes{Bits: bits[name], Multiples: tensors[1].Data}
		}
		return err
	})
}

// readStudent reads the weights of an INT8 student, and refuses floats.
func readStudent(from *Source) (*student.Weights, error) {
	q, err := from.Quantization()
	if err != nil {
		return nil, err
	}
	if q == nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, errFloatStudent)
	}
	return quant.Read(from.Folder)
}

func planC(_ context.Context, from *Source, o Options) (*c99.Plan, error) {
	w, made, err := readC(from, o)
	if err != nil {
		return nil, err
	}
	p, err := c99.Predict(w, from.Tok, made)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	if o.C.Flash > 0 {
		if err := p.Fits(o.C.Flash, o.C.Target); err != nil {
			return nil, fmt.Errorf("--flash: %w", err)
		}
	}
	return p, nil
}

func writeC(ctx context.Context, from *Source, out string, o Options) (*Result, error) {
	plan, err := planC(ctx, from, o)
	if err != nil {
		return nil, err
	}
	w, made, err := readC(from, o)
	if err != nil {
		return nil, err
	}
	if made.Proof, err = proof(ctx, w); err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	written, err := c99.Write(w, from.Tok, made)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	r := &Result{Format: "c", Dir: out, Architecture: "C99", Digest: made.Proof.Digest, Plan: plan, Note: c99.HowToMeasure(made.Name)}
	err = Into(out, func() error {
		return files.SaveDir(out, nil, func(tmp string) error {
			for _, name := range written.Names() {
				if err := os.WriteFile(filepath.Join(tmp, name), written[name], 0o666); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return r, r.Measure()
}

// proof computes what the device will be held to.
func proof(ctx context.Context, w *student.Weights) (p c99.Proof, err error) {
	m, err := student.New(w, student.Options{})
	if err != nil {
		return p, err
	}
	defer m.Close()
	d, err := student.Prove(m, student.DigestOptions{Check: ctx.Err})
	if err != nil {
		return p, err
	}
	boot, err := student.ProveBoot(w)
	if err != nil {
		return p, err
	}
	return c99.Proof{Digest: d.Digest, Functions: d.Functions, Stream: d.Stream, Weights: d.Weights, Boot: boot}, nil
}

// proveC compiles what was written, where there is a compiler, and compares what it computes.
func proveC(ctx context.Context, out string, o Options) (string, error) {
	written := c99.Files{}
	entries, err := os.ReadDir(out)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if written[e.Name()], err = files.ReadLimited(filepath.Join(out, e.Name()), MaxFile); err != nil {
			return "", err
		}
	}
	want, err := c99.ReadProof(written)
	if err != nil {
		return "", err
	}
	got, err := c99.Run(ctx, written, o.C.Name, "")
	if errors.Is(err, c99.ErrNoCompiler) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	if err := got.Agrees(want); err != nil {
		return "", err
	}
	return fmt.Sprintf("compiled with %s, it has the digest %s and passes its self-test", got.Compiler, got.Proof.Digest), nil
}
