package tokenizer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestParseRefuses edits good files one field at a time.
func TestParseRefuses(t *testing.T) {
	const (
		format      = "format"
		unsupported = "unsupported"
	)
	for name, c := range map[string]struct {
		file     string
		old, new string
		kind     string
		says     string
	}{
		"truncated":     {"bpe.json", "\n  }\n}\n", "", format, "not JSON"},
		"trailing":      {"bpe.json", "\n  }\n}\n", "\n}}x", format, "not JSON"},
		"a list":        {"chars.json", "{\n  \"version\"", "[{}]{\n  \"version\"", format, "not JSON"},
		"not utf-8":     {"chars.json", `"!"`, "\"\xff\"", format, "UTF-8"},
		"version":       {"chars.json", `"version": "1.0"`, `"version": "2.0"`, unsupported, "version"},
		"unknown field": {"chars.json", `"version"`, `"Model": {}, "version"`, unsupported, "Model"},
		"field twice":   {"chars.json", `"version"`, `"model": {}, "version"`, format, "twice"},
		"normalizer":    {"bpe.json", `"normalizer": null`, `"normalizer": {"type": "Lowercase"}`, unsupported, "normalizer"},
		"truncation":    {"bpe.json", `"truncation": null`, `"truncation": {}`, unsupported, "truncation"},
		"padding":       {"bpe.json", `"padding": null`, `"padding": {}`, unsupported, "padding"},
		"template": {
			"bpe.json", `"post_processor": null`, `"post_processor": {"type": "TemplateProcessing"}`, format, "post_processor.single",
		},
		"template of nothing known": {
			"bpe.json", `"post_processor": null`, `"post_processor": {"type": "TemplateProcessing", "single": [` +
				`{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}`, format, "<s>: missing",
		},
		"template of no token": {
			"bpe.json", `"post_processor": null`, `"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, ` +
				`{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}], ` +
				`"special_tokens": {"</s>": {"ids": [9999]}}}]}`, format, "9999",
		},
		"template of two": {
			"bpe.json", `"post_processor": null`, `"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}]}`, unsupported, "another text",
		},
		"bert":                {"bpe.json", `"post_processor": null`, `"post_processor": {"type": "BertProcessing"}`, unsupported, "BertProcessing"},
		"post processor":      {"bpe.json", `"post_processor": null`, `"post_processor": 3`, format, "not an object"},
		"unigram":             {"bpe.json", `"type": "BPE"`, `"type": "Unigram"`, unsupported, "Unigram"},
		"type":                {"bpe.json", `"type": "BPE"`, `"type": 7`, format, "not a string"},
		"dropout":             {"bpe.json", `"dropout": null`, `"dropout": 0.1`, unsupported, "dropout"},
		"subword prefix":      {"bpe.json", `"continuing_subword_prefix": null`, `"continuing_subword_prefix": "##"`, unsupported, "prefix"},
		"byte fallback":       {"bpe.json", `"byte_fallback": false`, `"byte_fallback": true`, unsupported, "byte_fallback"},
		"boolean":             {"bpe.json", `"byte_fallback": false`, `"byte_fallback": 0`, format, "neither true nor false"},
		"prefix space":        {"bpe.json", `"add_prefix_space": false`, `"add_prefix_space": true`, unsupported, "add_prefix_space"},
		"digits in groups":    {"hf-digits.json", `"individual_digits": true`, `"individual_digits": 1`, format, "individual_digits"},
		"other pre-tokenizer": {"hf-digits.json", `"type": "Digits"`, `"type": "Whitespace"`, unsupported, "Whitespace"},
		"other pattern":       {"chars.json", `[\\s\\S]`, `\\w+`, unsupported, "pre_tokenizer"},
		"other decoder":       {"chars.json", `"Fuse"`, `"WordPiece"`, unsupported, "decoder"},
		"other bpe decoder": {
			"bpe.json", `"decoder": {` + "\n" + `    "type": "ByteLevel"`, `"decoder": {"type": "Metaspace"`, unsupported, "Metaspace",
		},
		"unknown token in use": {"chars.json", `"unk_token": "<unk>"`, `"unk_token": "!"`, unsupported, "unk_token"},
		"no unknown token":     {"chars.json", `"unk_token": "<unk>"`, `"unk_token": null`, format, "unk_token"},
		"a word":               {"chars.json", `"!":`, `"!!":`, unsupported, "single characters"},
		"id gap":               {"chars.json", `"!": 3`, `"!": 3000`, format, "gap"},
		"id twice":             {"chars.json", `"!": 3`, `"!": 4`, format, "twice"},
		"negative id":          {"chars.json", `"!": 3`, `"!": -3`, format, "not a token id"},
		"huge id":              {"chars.json", `"!": 3`, `"!": 4294967299`, format, "not a token id"},
		"fractional id":        {"chars.json", `"!": 3`, `"!": 3.0`, format, "not a token id"},
		"token twice":          {"chars.json", `"!": 3`, `"!": 3, "!": 3`, format, "twice"},
		"merge of one":         {"bpe.json", `"e n"`, `"on"`, format, "not two tokens"},
		"merge of three":       {"bpe.json", `"e n"`, `"e n n"`, format, "not two tokens"},
		"merge list":           {"bpe.json", `"e n"`, `["e", "n", "n"]`, format, "not a pair"},
		"merge number":         {"bpe.json", `"e n"`, `5`, format, "neither"},
		"merge of strangers":   {"bpe.json", `"e n"`, `"日 n"`, format, "not in model.vocab"},
		"merge without result": {"bpe.json", `"e n"`, `"z z"`, format, `"zz"`},
		"merge twice":          {"bpe.json", `"e n"`, `"e n", "e n"`, format, "twice"},
		"merge of nothing":     {"bpe.json", `"e n"`, `" on"`, format, "not in model.vocab"},
		"no merges":            {"bpe.json", `"merges"`, `"unk_token2"`, unsupported, "unk_token2"},
		"not byte-level":       {"bpe.json", `"!": 0`, `" ": 0`, format, "byte-level"},
		"added id":             {"bpe.json", `"id": 379`, `"id": 378`, format, "id 378"},
		"added outside":        {"bpe.json", `"content": "<|endoftext|>"`, `"content": "<eos>"`, format, "380 is due"},
		"added strips":         {"bpe.json", `"lstrip": false`, `"lstrip": 0`, format, "lstrip"},
		"added empty":          {"bpe.json", `"content": "<|endoftext|>"`, `"content": ""`, format, "empty"},
		"added twice":          {"hf-digits.json", `"content": "<s>"`, `"content": "</s>"`, format, "twice"},
		"added is a merge part": {
			"bpe.json", "\"id\": 379,\n      \"content\": \"<|endoftext|>\"", "\"id\": 77,\n      \"content\": \"n\"", format, "added token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			good := readFile(t, c.file)
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatalf("%s does not contain %q", c.file, c.old)
			}
			tok, err := Parse([]byte(bad))
			var f *FormatError
			var u *UnsupportedError
			ok := c.kind == format && errors.As(err, &f) || c.kind == unsupported && errors.As(err, &u) && errors.Is(err, ErrUnsupported)
			if tok != nil || !ok || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (%T), want an error of kind %s that says %q", err, err, c.kind, c.says)
			}
		})
	}
}

// TestParseAccepts reads forms that other writers use.
func TestParseAccepts(t *testing.T) {
	for name, c := range map[string]struct{ file, old, new string }{
		"no model type, as GPT-2's":  {"bpe.json", "\"type\": \"BPE\",\n", ""},
		"empty prefix, as GPT-2's":   {"bpe.json", `"continuing_subword_prefix": null`, `"continuing_subword_prefix": ""`},
		"offsets, as GPT-2's":        {"bpe.json", `"post_processor": null`, `"post_processor": {"type": "ByteLevel", "trim_offsets": false}`},
		"pairs of merges":            {"bpe.json", `"e n"`, `["e", "n"]`},
		"unknown token out of reach": {"bpe.json", `"unk_token": null`, `"unk_token": "<|endoftext|>"`},
	} {
		t.Run(name, func(t *testing.T) {
			good := readFile(t, c.file)
			edited := strings.Replace(good, c.old, c.new, 1)
			if edited == good {
				t.Fatalf("%s does not contain %q", c.file, c.old)
			}
			want, err := Parse([]byte(good))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse([]byte(edited))
			if err != nil || got.Hash() != want.Hash() {
				t.Errorf("got %v, want the same tokenizer", err)
			}
		})
	}
}

// TestMissingByte: a vocabulary made without all bytes refuses a text, where
// Hugging Face drops the byte in silence.
func TestMissingByte(t *testing.T) {
	good := readFile(t, "hf-digits.json")
	file := strings.Replace(good, `"!":`, `"zz":`, 1)
	tok, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var missing *UnknownByteError
	if _, err := tok.Encode("<s>ah!"); !errors.As(err, &missing) || missing.Byte != '!' || missing.Offset != 5 {
		t.Errorf("got %v, want byte 0x21 at 5", err)
	}
	file = strings.Replace(file, `"unk_token": null`, `"unk_token": "<s>"`, 1)
	if _, err := Parse([]byte(file)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an unknown token that would be used: %v", err)
	}
}

func seedFiles(f *testing.F) (files [][]byte) {
	f.Helper()
	for _, name := range []string{"chars.json", "bpe.json", "hf-digits.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}

// FuzzParse: no file makes the reader panic; a file that is accepted is written
// to a fixed point and encodes reversibly.
func FuzzParse(f *testing.F) {
	for _, data := range append(seedFiles(f), []byte(readFile(f, "sentence.json"))) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			var format *FormatError
			var unsupported *UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		file, err := tok.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(file)
		if err != nil || again.Hash() != tok.Hash() {
			t.Fatalf("what was written does not read back: %v", err)
		}
		if _, ok := tok.(*Sentence); ok {
			return // ▁ comes back as a space
		}
		var all []byte
		for id := range int32(tok.VocabSize()) {
			if all, err = tok.AppendToken(all, id); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"Hello, wörld 12\n\n x", string(all)} {
			ids, err := tok.Encode(text)
			if err != nil {
				continue
			}
			if back, err := tok.Decode(ids); err != nil || back != text {
				t.Fatalf("%q came back as %q, %v", text, back, err)
			}
		}
	})
}

// FuzzEncode: any bytes encode and come back, or are refused as not UTF-8.
func FuzzEncode(f *testing.F) {
	var toks []Tokenizer
	for _, data := range seedFiles(f) {
		tok, err := Parse(data)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Add("First Citizen: don't <s><|im_start|>x 123\u00a0 \n")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			ids, err := tok.Encode(text)
			var unknown *UnknownCharError
			var encoding *EncodingError
			if errors.As(err, &unknown) || errors.As(err, &encoding) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			back, err := tok.Decode(ids)
			if err != nil || back != text {
				t.Fatalf("%q came back as %q, %v", text, back, err)
			}
			s, streamed := NewStream(tok), ""
			for _, id := range ids {
				part, err := s.Next(id)
				if err != nil {
					t.Fatal(err)
				}
				streamed += part
			}
			if streamed += s.Flush(); streamed != text {
				t.Fatalf("%q streamed as %q", text, streamed)
			}
			if slices.ContainsFunc(ids, func(id int32) bool { return id < 0 || int(id) >= tok.VocabSize() }) {
				t.Fatal("an id outside the vocabulary")
			}
		}
	})
}

// transformers writes a template that adds nothing when it saves a tokenizer: the ids stay, and the hash.
func TestTemplateOfNothing(t *testing.T) {
	const template = `{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
		"pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}}`
	for _, name := range []string{"bpe.json", "chars.json", "hf-digits.json"} {
		plain := readFile(t, name)
		want, err := Parse([]byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{template, `{"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": false}, ` + template + `]}`} {
			edited := strings.Replace(plain, `"post_processor": null`, `"post_processor": `+p, 1)
			if edited == plain {
				continue // has a post-processor of its own
			}
			got, err := Parse([]byte(edited))
			if err != nil || got.Hash() != want.Hash() {
				t.Errorf("%s with %s: %v", name, p, err)
			}
		}
	}
}
