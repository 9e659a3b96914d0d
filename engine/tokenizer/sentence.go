package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
)

// Sentence is BPE of characters as SentencePiece makes it and Llama 1 and 2, Mistral and TinyLlama have it: spaces are
// written ▁, a text gets one before it, each character is a symbol, and a character that the vocabulary lacks is the
// bytes of its UTF-8. The whole of a text between added tokens is one word, unless the file cuts it at every ▁.
type Sentence struct {
	BPE
	prefix prefix
	cut    bool             // before every ▁
	strip  bool             // Decode takes a space off the front
	chars  map[string]int32 // by spelling
	bytes  []int16          // [V] the byte that an id is, -1 for what is text

	normalizer, preTokenizer string // canonical
}

// prefix says which stretches of text get a ▁ before them.
type prefix int

const (
	noPrefix    prefix = iota
	eachPrefix         // all
	unlessThere        // all that do not begin with one
	firstPrefix        // that at the beginning of the text, unless it begins with one
)

const lowerBlock = "▁" // stands for a space

// The layout of such a file, as transformers writes it: a normalizer that writes ▁, or the pre-tokenizer Metaspace.
const (
	sentenceReplace    = `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	sentenceNormalizer = `{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` + sentenceReplace + `]}`
	sentenceDecoder    = `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}`
	sentenceStrip      = `,{"type":"Strip","content":" ","start":1,"stop":0}`
	metaspace          = `{"type":"Metaspace","replacement":"▁","prepend_scheme":"%s","split":%t}`
)

// isSentence says that a file has the normalizer or the pre-tokenizer of this kind; whether the rest agrees is for
// parseSentence.
func isSentence(top fields) bool {
	raw := top.raw["normalizer"]
	if sameJSON(raw, sentenceNormalizer) || sameJSON(raw, sentenceReplace) {
		return true
	}
	p, err := top.object("pre_tokenizer")
	if err != nil {
		return false
	}
	kind, _ := p.str("type")
	return kind == "Metaspace"
}

// spaces reads where a file writes ▁.
func (t *Sentence) spaces(top fields) error {
	t.normalizer, t.preTokenizer = "null", "null"
	if top.null("normalizer") {
		return t.metaspace(top)
	}
	if !top.null("pre_tokenizer") {
		return &UnsupportedError{"pre_tokenizer", string(top.raw["pre_tokenizer"]), "null beside a normalizer that writes spaces as ▁"}
	}
	t.normalizer = sentenceReplace
	if sameJSON(top.raw["normalizer"], sentenceNormalizer) {
		t.normalizer, t.prefix = sentenceNormalizer, eachPrefix
		return nil
	}
	if !sameJSON(top.raw["normalizer"], sentenceReplace) {
		return &UnsupportedError{"normalizer", string(top.raw["normalizer"]), "null beside Metaspace"}
	}
	return nil
}

func (t *Sentence) metaspace(top fields) error {
	p, err := top.object("pre_tokenizer")
	if err != nil {
		return err
	}
	if err := p.only("type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"); err != nil {
		return err
	}
	for _, key := range []string{"replacement", "str_rep"} {
		if s, err := p.str(key); (key == "replacement" || p.has(key)) && (err != nil || s != lowerBlock) {
			return &UnsupportedError{p.path(key), string(p.raw[key]), strconv.Quote(lowerBlock)}
		}
	}
	scheme := "always"
	if p.has("prepend_scheme") {
		if scheme, err = p.str("prepend_scheme"); err != nil {
			return err
		}
	} else if space, err := p.boolean("add_prefix_space", true); err != nil {
		return err
	} else if !space {
		scheme = "never"
	}
	known := map[string]prefix{"always": unlessThere, "first": firstPrefix, "never": noPrefix}
	if _, ok := known[scheme]; !ok {
		return &UnsupportedError{p.path("prepend_scheme"), strconv.Quote(scheme), "always, first or never"}
	}
	t.prefix = known[scheme]
	t.cut, err = p.boolean("split", true)
	t.preTokenizer = fmt.Sprintf(metaspace, scheme, t.cut)
	return err
}

func parseSentence(top, model fields, added addedTokens) (Tokenizer, error) {
	t := &Sentence{chars: map[string]int32{}}
	if err := t.spaces(top); err != nil {
		return nil, err
	}
	if t.strip = top.has("decoder") && sameJSON(top.raw["decoder"], sentenceDecoder+sentenceStrip+"]}"); !t.strip {
		if err := top.wantExact("decoder", sentenceDecoder+"]}"); err != nil {
			return nil, err
		}
	}
	if err := model.wantBool("byte_fallback", true, false); err != nil {
		return nil, err
	}
	if err := model.wantBool("ignore_merges", false, false); err != nil {
		return nil, err
	}
	if err := checkModel(model); err != nil {
		return nil, err
	}
	for i, a := range added {
		if a.late && t.normalizer != "null" {
			return nil, &UnsupportedError{fmt.Sprintf("added_tokens[%d].normalized", i), "true", "false beside a normalizer"}
		}
	}
	spelling, ids, own, err := vocabulary(model, added)
	if err != nil {
		return nil, err
	}
	around, err := parseTemplate(top, spelling)
	if err != nil {
		return nil, err
	}
	t.bytes = make([]int16, len(spelling))
	for i := range t.byteID {
		t.byteID[i] = -1
	}
	pieces := make([]string, len(spelling))
	for id, s := range spelling {
		pieces[id], t.bytes[id] = strings.ReplaceAll(s, lowerBlock, " "), -1
		if b, ok := byteToken(s); ok {
			t.byteID[b], t.bytes[id], pieces[id] = int32(id), int16(b), string([]byte{b})
		}
		t.chars[s] = int32(id)
	}
	for b, id := range t.byteID {
		if id < 0 {
			return nil, &UnsupportedError{"model.byte_fallback", fmt.Sprintf("true without a token <0x%02X>", b), "all 256 of them"}
		}
	}
	if t.merges, err = parseMerges(model, ids, own); err != nil {
		return nil, err
	}
	t.core = core{pieces: pieces, added: added, eos: findEOS(added), around: around}
	t.rank = make(map[pair]int32, len(t.merges))
	for i, m := range t.merges {
		t.rank[m.pair] = int32(i)
	}
	t.seal(spelling, func(post string) []byte { return marshalSentence(t, spelling, post) })
	return t, nil
}

// byteToken reads <0xXX>.
func byteToken(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(s[3:5], 16, 8)
	return byte(b), err == nil && strings.ToUpper(s[3:5]) == s[3:5]
}

// Encode implements [Tokenizer].
func (t *Sentence) Encode(s string) ([]int32, error) {
	if err := checkUTF8(s); err != nil {
		return nil, err
	}
	out := make([]int32, 0, len(s)/3+1)
	var w merger
	err := t.added.split(s, nil, func(part string, offset int) error {
		part = strings.ReplaceAll(part, " ", lowerBlock)
		switch there := strings.HasPrefix(part, lowerBlock); {
		case t.prefix == eachPrefix, !there && (t.prefix == unlessThere || t.prefix == firstPrefix && offset == 0):
			part = lowerBlock + part
		}
		for t.cut {
			n := strings.Index(part[1:], lowerBlock) + 1
			if n == 0 {
				break
			}
			out = t.appendPiece(out, part[:n], &w)
			part = part[n:]
		}
		out = t.appendPiece(out, part, &w)
		return nil
	}, func(id int32) { out = append(out, id) })
	return out, err
}

// appendPiece appends the ids of a stretch that merges may join.
func (t *Sentence) appendPiece(out []int32, part string, w *merger) []int32 {
	w.symbols = w.symbols[:0]
	add := func(id int32) {
		w.symbols = append(w.symbols, symbol{id: id, prev: len(w.symbols) - 1, next: len(w.symbols) + 1})
	}
	for _, r := range part {
		c := string(r)
		if id, ok := t.chars[c]; ok {
			add(id)
			continue
		}
		for i := range len(c) {
			add(t.byteID[c[i]])
		}
	}
	w.run(&t.BPE)
	for i := 0; i < len(w.symbols); i = w.symbols[i].next {
		out = append(out, w.symbols[i].id)
	}
	return out
}

// Decode implements [Tokenizer]: bytes in a row that are not UTF-8 become one U+FFFD each, and the space that Encode
// put before the text goes.
func (t *Sentence) Decode(ids []int32) (string, error) {
	var b strings.Builder
	var run []byte
	flush := func() {
		if strings.ToValidUTF8(string(run), "") == string(run) {
			b.Write(run)
		} else {
			b.WriteString(strings.Repeat(replacement, len(run)))
		}
		run = run[:0]
	}
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.pieces) {
			return "", &IDError{ID: id, VocabSize: len(t.pieces)}
		}
		if v := t.bytes[id]; v >= 0 {
			run = append(run, byte(v))
			continue
		}
		flush()
		b.WriteString(t.pieces[id])
	}
	flush()
	if t.strip {
		return strings.TrimPrefix(b.String(), " "), nil
	}
	return b.String(), nil
}
