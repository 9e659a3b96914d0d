package c99

import (
	"fmt"
	"strings"

	"mito/engine/student"
)

// Proof is what the device checks: SPEC.md, section 6.
type Proof struct {
	Digest, Functions, Stream, Weights string
	Boot                               student.Boot
}

// header is model.h.
func (e *emitter) header() []byte {
	var b strings.Builder
	c, p := e.w.Config, e.parts
	flag := func(name, about string, on bool) {
		fmt.Fprintf(&b, "#define STUDENT_%s %d%s\n", name, bit(on), comment(about))
	}
	number := func(name, about string, v int) { fmt.Fprintf(&b, "#define STUDENT_%s %d%s\n", name, v, comment(about)) }
	b.WriteString("/* The sizes of a model, as mito export c wrote them. */\n#ifndef STUDENT_MODEL_H\n#define STUDENT_MODEL_H\n\n#include <stdint.h>\n\n")
	b.WriteString("/* What may be left out, or put in: -DSTUDENT_SAMPLE=0, say. */\n")
	for _, o := range []struct {
		name, about string
		usual       int
	}{
		{"SELFTEST", "student_selftest", 1}, {"SAMPLE", "student_sample; without it text is greedy", 1}, {"DIGEST", "student_digest", 0},
	} {
		fmt.Fprintf(&b, "#ifndef STUDENT_%s\n#define STUDENT_%[1]s %d%s\n#endif\n", o.name, o.usual, comment(o.about))
	}
	b.WriteString("\n/* The model. */\n")
	number("VOCAB", "", c.VocabSize)
	number("WIDTH", "", c.HiddenSize)
	number("LAYERS", "", c.Layers)
	number("HEAD_DIM", "", c.HeadDim)
	number("CONTEXT", "tokens of a sequence", c.Context)
	eos, hasText := int32(-1), e.text != nil
	if hasText {
		eos = e.text.eos
	}
	number("EOS", "the token that ends a text; -1 for none", int(eos))
	number("MASK", "bytes of a mask", (c.VocabSize+7)/8)
	b.WriteString("\n/* Its parts. */\n")
	flag("BIAS", "", p.Bias)
	flag("BLOCKS", "", p.Blocks)
	flag("PACKED", "codes of fewer than 8 bits", p.Packed)
	flag("GATE", "SwiGLU", p.Gate)
	flag("GELU", "", p.GELU)
	flag("SQUARE", "squared ReLU", p.Square)
	flag("LAYERNORM", "", p.LayerNorm)
	flag("QK_NORM", "", p.QKNorm)
	flag("PLE", "per-layer embeddings", p.PLE)
	number("ADAPTERS", e.adapted.names(), p.Adapters)
	if e.adapted != nil {
		number("RANK", "the largest of an adapter", e.rank)
	}
	number("ROPE", "0 learned positions, 1 tables in flash, 2 turned from token to token in double", p.Rope)
	fmt.Fprintf(&b, "#define STUDENT_EXP (STUDENT_GATE || STUDENT_GELU || STUDENT_SAMPLE)\n")
	flag("TOKENIZER", "", hasText)
	number("TASK", "rules for legal answers", len(e.rules))
	number("GRAMMAR", "states of the grammar that texts are held to", e.states())
	b.WriteString("\n/* Memory. */\n")
	number("WORDS", "of the state's memory", e.words)
	number("STATE_BYTES", "of RAM: sizeof(student_state)", e.facts.RAM)
	number("WEIGHT_BYTES", "of flash", e.facts.Weights)
	number("TABLE_BYTES", "of flash", e.facts.Tables)
	b.WriteString("\n/* What mito verify prints, and what the self-test compares. */\n")
	for _, d := range []struct{ name, value string }{
		{"SHA256", e.o.Proof.Digest}, {"FUNCTIONS", e.o.Proof.Functions}, {"STREAM", e.o.Proof.Stream}, {"WEIGHTS", e.o.Proof.Weights},
	} {
		fmt.Fprintf(&b, "#define STUDENT_%s \"%s\"\n", d.name, d.value)
	}
	fmt.Fprintf(&b, "#define STUDENT_BOOT 0x%08xu\n", e.o.Proof.Boot.Hash)
	number("BOOT_LAYERS", "that the self-test's token passes", max(1, e.o.Proof.Boot.Layers))
	b.WriteString("\n#if defined(__GNUC__)\n#define STUDENT_ALIGNED __attribute__((aligned(4)))\n#else\n#define STUDENT_ALIGNED\n#endif\n")
	if t := e.text; t != nil {
		fmt.Fprintf(&b, "\n/* Tokens. */\n")
		flag("BPE", "", t.table != nil)
		number("PIECE", "bytes of the longest token", t.longest())
		fmt.Fprintf(&b, "typedef %s student_offset;\n", offsetType(t.pieceBytes()))
	}
	b.WriteString("\n#endif\n")
	return []byte(b.String())
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

func comment(about string) string {
	if about == "" {
		return ""
	}
	return " /* " + about + " */"
}
