package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
)

// Sentence is BPE of characters as SentencePiece makes it and Llama 1 and 2, Mistral and TinyLlama have it: spaces are
// written ▁, a text gets one before it, each character is a symbol, and a character that the vocabulary lacks is the
// bytes of its UTF-8. The whole of a text between added tokens is one word.
type Sentence struct {
	BPE
	prefix bool             // a ▁ before each stretch of text, which Decode takes off the first
	chars  map[string]int32 // by spelling
	bytes  []int16          // [V] the byte that an id is, -1 for what is text
}

const lowerBlock = "▁" // stands for a space

// The layout of such a file, as transformers writes it.
const (
	sentenceReplace    = `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	sentenceNormalizer = `{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` + sentenceReplace + `]}`
	sentenceDecoder    = `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}`
	sentenceStrip      = `,{"type":"Strip","content":" ","start":1,"stop":0}`
)

// isSentence says that a file has the normalizer of this kind; whether the rest agrees is for parseSentence.
func isSentence(top fields) bool {
	raw := top.raw["normalizer"]
	return sameJSON(raw, sentenceNormalizer) || sameJSON(raw, sentenceReplace)
}

func parseSentence(top, model fields, added addedTokens) (Tokenizer, error) {
	if !top.null("pre_tokenizer") {
		return nil, &UnsupportedError{"pre_tokenizer", string(top.raw["pre_tokenizer"]), "null beside a normalizer that writes spaces as ▁"}
	}
	prefix := sameJSON(top.raw["normalizer"], sentenceNormalizer)
	decoder := sentenceDecoder
	if prefix {
		decoder += sentenceStrip
	}
	if err := top.wantExact("decoder", decoder+"]}"); err != nil {
		return nil, err
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
		if a.late {
			return nil, &UnsupportedError{fmt.Sprintf("added_tokens[%d].normalized", i), "true", "false beside a normalizer"}
		}
	}
	spelling, ids, own, err := vocabulary(model, added)
	if err != nil {
		return nil, err
	}
	t := &Sentence{prefix: prefix, chars: map[string]int32{}, bytes: make([]int16, len(spelling))}
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
	t.core = core{pieces: pieces, added: added, eos: findEOS(added)}
	t.rank = make(map[pair]int32, len(t.merges))
	for i, m := range t.merges {
		t.rank[m.pair] = int32(i)
	}
	t.seal(marshalSentence(t, spelling))
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
	err := t.added.split(s, func(part string, _ int) error {
		part = strings.ReplaceAll(part, " ", lowerBlock)
		if t.prefix {
			part = lowerBlock + part
		}
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
		return nil
	}, func(id int32) { out = append(out, id) })
	return out, err
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
	if t.prefix {
		return strings.TrimPrefix(b.String(), " "), nil
	}
	return b.String(), nil
}
