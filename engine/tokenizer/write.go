package tokenizer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// The canonical file has one layout, so that equal tokenizers have equal bytes
// and equal hashes: fields in Hugging Face's order, two spaces of indent, ids
// ascending.

// charsPreTokenizer makes every code point a word. [\s\S] rather than a dot:
// the dot's idea of a line end differs between regular expression engines.
const charsPreTokenizer = `{
    "type": "Split",
    "pattern": {
      "Regex": "[\\s\\S]"
    },
    "behavior": "Isolated",
    "invert": false
  }`

const charsDecoder = `{
    "type": "Fuse"
  }`

// charsUnknown names the unknown token of the model. It must not be in the
// vocabulary; then Hugging Face refuses unknown characters.
const charsUnknown = "<unk>"

func byteLevel(regex bool, indent string) string {
	in := "\n" + indent + "  "
	return "{" + in + `"type": "ByteLevel",` + in + `"add_prefix_space": false,` + in + `"trim_offsets": true,` +
		in + `"use_regex": ` + strconv.FormatBool(regex) + "\n" + indent + "}"
}

func marshalChars(c *Chars, post string) []byte {
	var b bytes.Buffer
	unk := charsUnknown
	for slices.Contains(c.pieces, unk) {
		unk = "<" + unk + ">"
	}
	writeHead(&b, &c.core, "null", charsPreTokenizer, charsDecoder, post)
	b.WriteString("    \"type\": \"WordLevel\",\n")
	writeVocab(&b, c.pieces)
	b.WriteString(",\n    \"unk_token\": " + quote(unk) + "\n  }\n}\n")
	return b.Bytes()
}

func marshalBPE(t *BPE, spelling []string, post string) []byte {
	var b bytes.Buffer
	writeHead(&b, &t.core, t.form.json(), marshalPre(t.pre), byteLevel(true, "  "), post)
	b.WriteString(`    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": ` + strconv.FormatBool(t.ignoreMerges) + ",\n")
	writeVocab(&b, spelling)
	b.WriteString(",\n    \"merges\": [")
	for i, m := range t.merges {
		if i > 0 {
			b.WriteByte(',')
		}
		// The byte-level alphabet has no space, so this older form is unambiguous.
		b.WriteString("\n      " + quote(spelling[m.left]+" "+spelling[m.right]))
	}
	if len(t.merges) > 0 {
		b.WriteString("\n    ")
	}
	b.WriteString("]\n  }\n}\n")
	return b.Bytes()
}

func writeHead(b *bytes.Buffer, c *core, normalizer, preTokenizer, decoder, postProcessor string) {
	b.WriteString("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [")
	for i, t := range c.added {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    {\n      \"id\": " + strconv.Itoa(int(t.id)) + ",\n      \"content\": " + quote(t.content) +
			",\n      \"single_word\": " + strconv.FormatBool(t.singleWord) + ",\n      \"lstrip\": " + strconv.FormatBool(t.lstrip) +
			",\n      \"rstrip\": " + strconv.FormatBool(t.rstrip) + ",\n      \"normalized\": " + strconv.FormatBool(t.late) + ",\n      \"special\": " + strconv.FormatBool(t.special) + "\n    }")
	}
	if len(c.added) > 0 {
		b.WriteString("\n  ")
	}
	b.WriteString("],\n  \"normalizer\": " + normalizer + ",\n  \"pre_tokenizer\": " + preTokenizer +
		",\n  \"post_processor\": " + postProcessor + ",\n  \"decoder\": " + decoder + ",\n  \"model\": {\n")
}

func writeVocab(b *bytes.Buffer, spelling []string) {
	b.WriteString("    \"vocab\": {")
	for id, s := range spelling {
		if id > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n      " + quote(s) + ": " + strconv.Itoa(id))
	}
	b.WriteString("\n    }")
}

// quote is s as a JSON string, without the escapes that only HTML needs.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A string always encodes; every piece is UTF-8.
	_ = e.Encode(s)
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// marshalSentence writes the canonical file; spelling is that of the vocabulary.
func marshalSentence(t *Sentence, spelling []string, post string) []byte {
	decoder := sentenceDecoder
	if t.strip {
		decoder += sentenceStrip
	}
	var b bytes.Buffer
	writeHead(&b, &t.core, t.normalizer, t.preTokenizer, decoder+"]}", post)
	b.WriteString(`    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": true,
    "ignore_merges": false,
`)
	writeVocab(&b, spelling)
	b.WriteString(",\n    \"merges\": [")
	for i, m := range t.merges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n      [" + quote(spelling[m.left]) + ", " + quote(spelling[m.right]) + "]")
	}
	b.WriteString("]\n  }\n}\n")
	return b.Bytes()
}
